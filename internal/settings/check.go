package settings

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// Wrong is a *usererr.Error that names the key, its value and what is allowed.
func Wrong(key, value, allowed string) *usererr.Error {
	return usererr.New("settings", "", "%s is %s, allowed: %s", key, value, allowed)
}

// Within wants a value from low to high; NaN, which compares false with everything, is not.
func Within[N int | float64](key string, value, low, high N) error {
	if value >= low && value <= high {
		return nil
	}
	return Wrong(key, fmt.Sprint(value), fmt.Sprintf("%v to %v", low, high))
}

// first is the first error of a list of checks.
func first(checks ...error) error {
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

func filled(key, value, allowed string) error {
	if strings.TrimSpace(value) == "" {
		return Wrong(key, "missing", allowed)
	}
	return nil
}

func positive(key string, value float64) error {
	if value > 0 && value <= math.MaxFloat32 {
		return nil
	}
	return Wrong(key, fmt.Sprint(value), "a finite number above 0")
}

func oneOf(key, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return Wrong(key, strconv.Quote(value), strings.Join(allowed, ", "))
}

func targets(key string, modules []string) error {
	const allowed = "all-linear alone, or a list of module names, each once"
	if len(modules) == 0 {
		return Wrong(key, "empty", allowed)
	}
	seen := map[string]bool{}
	for _, m := range modules {
		if m == "" || seen[m] || (m == "all-linear" && len(modules) > 1) {
			return Wrong(key, strconv.Quote(strings.Join(modules, ",")), allowed)
		}
		seen[m] = true
	}
	return nil
}

func blockSize(key string, value int) error {
	if value >= 32 && value <= 4096 && bits.OnesCount(uint(value)) == 1 {
		return nil
	}
	return Wrong(key, strconv.Itoa(value), "32, 64, 128, 256, 512, 1024, 2048, 4096")
}

func validationSize(key string, value float64) error {
	part := value >= 0 && value < 1
	rows := value >= 1 && value <= math.MaxInt32 && value == math.Trunc(value)
	if part || rows {
		return nil
	}
	return Wrong(key, fmt.Sprint(value), "a part from 0 to below 1, or a whole number of rows")
}
