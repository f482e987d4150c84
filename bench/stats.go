package main

import "slices"

// sample sums up one figure over several rounds.
type sample struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// summarize takes the median of the values, the mean of the two middle ones if
// their number is even. Without values all figures are 0.
func summarize(values []float64) sample {
	if len(values) == 0 {
		return sample{}
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	median := v[mid]
	if len(v)%2 == 0 {
		median = (v[mid-1] + v[mid]) / 2
	}
	return sample{Median: median, Min: v[0], Max: v[len(v)-1]}
}

// spread is how far the rounds are apart, as a part of the median.
func (s sample) spread() float64 { return ratio(s.Max-s.Min, s.Median) }

// ratio is a/b, and 0 when there is nothing to compare with.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
