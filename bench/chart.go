package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of the chart, in its own units.
const (
	chartWidth  = 1080
	chartTop    = 70
	chartLabels = 500
	chartRow    = 20
	chartBar    = 12
	chartRight  = 130
	chartLine   = 150 // letters
)

const (
	colorBetter = "#2b7a4b"
	colorWorse  = "#b5532b"
	colorTarget = "#222222"
	colorGrid   = "#cccccc"
)

// chartScale places ratios on an axis whose steps are factors.
type chartScale struct{ low, high float64 }

// scaleOf is a scale that holds all ratios and targets, in powers of two.
func scaleOf(bars []tableLine) chartScale {
	s := chartScale{0.5, 2}
	for _, l := range bars {
		for _, v := range []float64{l.Ratio, l.TargetRatio} {
			for v > 0 && s.low > v {
				s.low /= 2
			}
			for s.high < v {
				s.high *= 2
			}
		}
	}
	return s
}

// x is where a ratio is: it is held to the scale.
func (s chartScale) x(ratio float64) float64 {
	ratio = min(max(ratio, s.low), s.high)
	part := math.Log(ratio/s.low) / math.Log(s.high/s.low)
	return chartLabels + part*(chartWidth-chartLabels-chartRight)
}

// barsOf are the lines that have a ratio: those with a target, and the first figure of rows
// without one.
func barsOf(all []tableLine) []tableLine {
	targeted, first := map[string]bool{}, map[string]bool{}
	key := func(l tableLine) string { return fmt.Sprint(l.Row, l.Members) }
	for _, l := range all {
		targeted[key(l)] = targeted[key(l)] || l.Target != ""
	}
	var out []tableLine
	for _, l := range all {
		shown := l.Target != "" || !targeted[key(l)] && !first[key(l)]
		first[key(l)] = true
		if shown && l.Ratio > 0 {
			out = append(out, l)
		}
	}
	return out
}

// better tells whether a ratio speaks for ChainFire. Nothing is better than the limit: beside that it
// is the target that counts.
func (l tableLine) better() bool {
	if l.Limit != nil {
		return l.Met != nil && *l.Met
	}
	if l.Figure.moreIsBetter() {
		return l.Ratio >= 1
	}
	return l.Ratio <= 1
}

// chart draws the ratios as bars from 1 on, with the targets as ticks.
func (r tableReport) chart() string {
	bars := barsOf(r.Lines)
	scale := scaleOf(bars)
	bottom := chartTop + len(bars)*chartRow
	notes := wrap(r.origin(), chartLine)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		chartWidth, bottom+40+16*len(notes))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	text(&b, 16, 26, `font-size="18"`, "ChainFire beside etcd: ratios of medians")
	text(&b, 16, 46, `fill="#555555"`, "green speaks for ChainFire; a black tick is the target; * is to the limit: one sync and one empty round trip")
	for v := scale.low; v <= scale.high*1.001; v *= 2 {
		x := scale.x(v)
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/>`+"\n", x, x, chartTop-6, bottom, colorGrid)
		text(&b, x, float64(bottom+14), `text-anchor="middle" fill="#555555"`, amount(v))
	}
	for i, l := range bars {
		l.draw(&b, scale, float64(chartTop+i*chartRow))
	}
	for i, note := range notes {
		text(&b, 16, float64(bottom+36+16*i), `font-size="11" fill="#555555"`, note)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws one bar.
func (l tableLine) draw(b *strings.Builder, scale chartScale, y float64) {
	one, x := scale.x(1), scale.x(l.Ratio)
	color := colorWorse
	if l.better() {
		color = colorBetter
	}
	star := ""
	if l.Limit != nil {
		star = " *"
	}
	text(b, chartLabels-10, y+chartBar, `text-anchor="end"`, fmt.Sprintf("%s; %d member(s): %s%s", l.Title, l.Members, l.Figure, star))
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n",
		min(one, x), y+2, math.Max(math.Abs(x-one), 1), chartBar, color)
	if at := l.TargetRatio; at > 0 {
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s" stroke-width="2"/>`+"\n",
			scale.x(at), scale.x(at), y, y+chartBar+4, colorTarget)
	}
	text(b, chartWidth-chartRight+12, y+chartBar, "", fmt.Sprintf("%s  %s", amount(l.Ratio), l.verdict()))
}

// wrap breaks lines at blanks, so that none has more letters than width if its words have not.
func wrap(lines []string, width int) []string {
	var out []string
	for _, line := range lines {
		now := ""
		for word := range strings.FieldsSeq(line) {
			if now != "" && len(now)+1+len(word) > width {
				out, now = append(out, now), ""
			}
			if now != "" {
				now += " "
			}
			now += word
		}
		out = append(out, now)
	}
	return out
}

func text(b *strings.Builder, x, y float64, attributes, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(s))
}
