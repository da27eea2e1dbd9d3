package reference

// SplitColumns cuts the columns of x into parts of these widths.
func SplitColumns(x []float64, widths ...int) (parts [][]float64) {
	all := 0
	for _, w := range widths {
		all += w
	}
	first := 0
	for _, w := range widths {
		part := []float64{}
		for row := 0; row < len(x); row += all {
			part = append(part, x[row+first:row+first+w]...)
		}
		parts, first = append(parts, part), first+w
	}
	return parts
}

// JoinColumns puts parts of these widths beside one another.
func JoinColumns(parts [][]float64, widths ...int) (x []float64) {
	rows := 0
	for i, w := range widths {
		rows = max(rows, len(parts[i])/max(1, w))
	}
	for row := range rows {
		for i, part := range parts {
			x = append(x, part[row*widths[i]:(row+1)*widths[i]]...)
		}
	}
	return x
}
