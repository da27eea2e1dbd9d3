package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/opcases"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/shaders"
)

// measurements is what was found out about a device with its driver and the shaders of this build, cached under the
// device's name.
type measurements struct {
	Device    string          `json:"device"` // and its driver
	Shaders   string          `json:"shaders"`
	SelfCheck bool            `json:"self_check"` // the kernels computed rightly
	Variants  json.RawMessage `json:"variants,omitempty"`
	// that is fast, where the driver moves to the host what exceeds the card's; 0: unknown
	Memory int64 `json:"memory_bytes,omitempty"`
	// the candidate that the autotune measures; still there at a start, the process died of it or meanwhile
	Trying string         `json:"trying,omitempty"`
	Deaths map[string]int `json:"deaths,omitempty"` // of processes, by such a candidate
}

// enoughDeaths reject a candidate. One may be chance (somebody killed the process), unless the run's parent saw its
// child die.
const enoughDeaths = 2

// rejected lists the candidates that are not measured on this device any more.
func (m *measurements) rejected() (candidates []string) {
	for c, deaths := range m.Deaths {
		if deaths >= enoughDeaths {
			candidates = append(candidates, c)
		}
	}
	return candidates
}

// recall takes what was measured on the device at earlier starts.
func (s *Session) recall() {
	var stale bool
	if s.measured, stale = loadMeasurements(s.options.Cache, s.Device); stale {
		s.info("What is cached about this device is of another driver or version of this program: it is checked and measured again.")
	}
	if candidate := s.measured.Trying; candidate != "" {
		deaths := 1
		if s.options.SubmitScale > 0 { // a restart
			deaths = enoughDeaths
		}
		if s.measured.Deaths == nil {
			s.measured.Deaths = map[string]int{}
		}
		s.measured.Deaths[candidate] += deaths
		s.trying("")
		if s.measured.Deaths[candidate] >= enoughDeaths {
			s.warn("A process died while the autotune tried %s: it is left out on this device from now on.", candidate)
		}
	}
	if a := s.options.Autotune; a != "force" && a != "off" { // off is by rule, whatever other runs measured
		if err := s.measured.apply(s.Device); err != nil {
			s.warn("The cached variant table is ignored: %v", err)
		}
	}
}

// trying notes the candidate that is about to be measured.
func (s *Session) trying(candidate string) {
	s.measured.Trying = candidate
	s.saveMeasurements()
}

// measurementName is the same for all drivers of an adapter, so that what is of another one is seen.
func measurementName(dev *gpu.Device) string {
	sum := sha256.Sum256([]byte(dev.Info.Name + "/" + dev.Info.Backend))
	return "device-" + hex.EncodeToString(sum[:])[:24] + ".json"
}

// shadersOf changes with the kernels of this build.
func shadersOf() string {
	h := sha256.New()
	for _, name := range shaders.Names() {
		io.WriteString(h, name+"\x00"+shaders.Source(name)+"\x00")
	}
	return hex.EncodeToString(h.Sum(nil))[:24]
}

// loadMeasurements are those of this adapter, driver and build; stale: there were others, which say nothing.
func loadMeasurements(cache Cache, dev *gpu.Device) (m measurements, stale bool) {
	fresh := measurements{Device: dev.Info.Key(), Shaders: shadersOf()}
	if cache == nil {
		return fresh, false
	}
	data, err := cache.Load(measurementName(dev))
	if err != nil {
		return fresh, false
	}
	if json.Unmarshal(data, &m) != nil || m.Device != fresh.Device || m.Shaders != fresh.Shaders {
		return fresh, true
	}
	return m, false
}

// ApplyMeasured gives the device the variants that were measured on it at earlier starts.
func ApplyMeasured(cache Cache, dev *gpu.Device) error {
	m, _ := loadMeasurements(cache, dev)
	return m.apply(dev)
}

func (m *measurements) apply(dev *gpu.Device) error {
	if len(m.Variants) == 0 {
		return nil
	}
	return json.Unmarshal(m.Variants, dev.Variants)
}

// save keeps the measurements; a cache that cannot be written only costs time at the next start.
func (s *Session) saveMeasurements() {
	if s.options.Cache == nil {
		return
	}
	data, err := json.MarshalIndent(s.measured, "", "  ")
	if err == nil {
		err = s.options.Cache.Save(measurementName(s.Device), data)
	}
	if err != nil {
		s.warn("What was measured on the device could not be cached: %v", err)
		s.options.Cache = nil // said once
	}
}

// check runs one case of every operation, once on a device: there are drivers whose kernels return zeros and train
// garbage.
func (s *Session) check(ctx context.Context) error {
	if s.measured.SelfCheck {
		return nil
	}
	start := time.Now()
	s.preparing("Checking the kernels on this device (once)…")
	var trials []*opcases.Trial
	defer func() {
		for _, t := range trials {
			t.Release()
		}
	}()
	var failure error
	s.Device.Variants.Aside(func() { // the cases' shapes are not the run's
		defer func() {
			switch bug := recover().(type) {
			case nil:
			case *gpu.OutOfMemory: // other programs fill the device
				failure = bug
			default:
				panic(bug)
			}
		}()
		for _, c := range opcases.OneOfEach() {
			t := opcases.Prepare(s.Device, c, "")
			trials = append(trials, t)
			s.Device.CompileAhead(ctx, t.Kernels())
		}
		meter := events.NewMeter(int64(len(trials)), func(p events.Part) { s.emit(events.Checking{Part: p}) })
		for _, t := range trials {
			if failure = s.Device.Compile(ctx, t.Kernels(), nil); failure != nil && ctx.Err() != nil {
				return
			} // what else goes wrong in it, the case tells
			r := t.Run(ctx)
			meter.Add(1)
			if failure = ctx.Err(); failure == nil && !r.OK() { // a cancelled case says nothing against the device
				failure = WrongDevice(s.Device, r)
			}
			if failure != nil {
				return
			}
		}
		meter.End()
	})
	if failure != nil {
		return failure
	}
	s.preparing("All %d operations compute rightly (%.1f s).", len(trials), time.Since(start).Seconds())
	s.measured.SelfCheck = true
	s.saveMeasurements()
	return nil
}

// WrongDevice is the error about a device on which a case came out wrong.
func WrongDevice(dev *gpu.Device, r opcases.Result) error {
	reason := r.Detail
	if r.Err != nil {
		reason = r.Err.Error()
	}
	return usererr.New("check device", "", "%s computes %s (%s %s) wrongly: %s", dev.Info.Name, r.Case.Op, r.Case.Shape, r.Variant, reason).
		Hinted("update the graphics driver, or choose another adapter with --device; `qlora-wgpu check` shows every kernel")
}
