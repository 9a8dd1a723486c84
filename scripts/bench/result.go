package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// median of some numbers, NaN of none.
func median[T int64 | float64](xs []T) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	xs = slices.Sorted(slices.Values(xs))
	mid := len(xs) / 2
	if len(xs)%2 == 1 {
		return float64(xs[mid])
	}
	return (float64(xs[mid-1]) + float64(xs[mid])) / 2
}

// spread is how far the runs lie apart: (longest − shortest) / median.
func spread(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	return (slices.Max(xs) - slices.Min(xs)) / median(xs)
}

// results is what bench/results.json holds.
type results struct {
	Date     string            `json:"date"`
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Load     float64           `json:"load_before"`
	Go       string            `json:"go"`
	N        int               `json:"n"`
	Runs     int               `json:"runs"`
	Versions map[string]string `json:"versions"`
	Missing  []string          `json:"missing,omitempty"`
	Sections []section         `json:"sections"`
	Rows     []row             `json:"rows"`
	Bars     []barResult       `json:"bars"`
	Sizes    []int             `json:"sizes"`
}

type section struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

func (r *results) find(section, name string) *row {
	i := slices.IndexFunc(r.Rows, func(w row) bool { return w.Section == section && w.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Rows[i]
}

func (w *row) seconds() float64 {
	if w == nil {
		return math.NaN()
	}
	return median(w.Seconds)
}

// fastest is of the run that was disturbed least.
func (w *row) fastest() float64 {
	if w == nil || len(w.Seconds) == 0 {
		return math.NaN()
	}
	return slices.Min(w.Seconds)
}

func (w *row) peak() float64 {
	if w == nil {
		return math.NaN()
	}
	return median(w.Peaks)
}

// best is the lowest number of a section's rows of one role, NaN without any.
func (r *results) best(section string, of role, number func(*row) float64) float64 {
	least := math.NaN()
	for i := range r.Rows {
		w := &r.Rows[i]
		if w.Section != section || w.Role != of {
			continue
		}
		if x := number(w); math.IsNaN(least) || x < least {
			least = x
		}
	}
	return least
}

// barResult is one bar, and what was reached: by the medians, and for comparison by
// the fastest run of each, which a busy neighbour of the machine disturbs least; of a
// peak, by the medians too.
type barResult struct {
	Name    string  `json:"name"`
	Limit   float64 `json:"limit"`
	Got     float64 `json:"got"`
	Fastest float64 `json:"fastest"`
	OK      bool    `json:"ok"` // by the medians
}

// judge compares what was measured with the bars. A bar whose parts were not measured
// is left out. The bars are meant for 100,000 hosts on two quiet cores.
func (r *results) judge() []barResult {
	bars, fastest := r.ratios((*row).seconds), r.ratios((*row).fastest)
	for i := range bars {
		bars[i].Fastest = fastest[i].Got
		bars[i].OK = bars[i].Got <= bars[i].Limit
	}
	return slices.DeleteFunc(bars, func(b barResult) bool { return math.IsNaN(b.Got) || math.IsInf(b.Got, 0) })
}

// ratios are all bars, with what was reached by the given seconds of each row.
func (r *results) ratios(seconds func(*row) float64) []barResult {
	of := func(section, name string) float64 { return seconds(r.find(section, name)) }
	peakOf := func(section, name string) float64 { return r.find(section, name).peak() }
	peak := (*row).peak
	host := r.best("host", peer, seconds)
	small, large := r.perRecord(seconds)
	return []barResult{
		{Name: "host: time / fastest peer", Limit: 0.60, Got: of("host", "zonebuild") / host},
		{Name: "host: time / floor", Limit: 1.25, Got: of("host", "zonebuild") / r.best("host", floor, seconds)},
		{Name: "host, all verified: time / dnssec-signzone", Limit: 0.55, Got: of("host", nameAll) / of("host", "dnssec-signzone")},
		{Name: "host: peak / leanest peer", Limit: 0.70, Got: peakOf("host", "zonebuild") / r.best("host", peer, peak)},
		{Name: "tld, sampled: time / fastest peer", Limit: 0.60, Got: of("tld", "zonebuild") / r.best("tld", peer, seconds)},
		{Name: "tld: peak / leanest peer", Limit: 0.70, Got: peakOf("tld", "zonebuild") / r.best("tld", peer, peak)},
		{Name: "again, cold: time / fastest peer's full sign", Limit: 0.08, Got: of("again", nameCold) / host},
		{Name: "again, held: time / knotd", Limit: 0.50, Got: of("again", nameHeld) / of("again", "knotd")},
		{Name: "verify: time / fastest verifier", Limit: 0.55, Got: of("verify", "zonebuild verify") / r.best("verify", peer, seconds)},
		{Name: "many, one zone changed: seconds", Limit: 1, Got: of("many", nameOne)},
		{Name: "size: time per record, largest / smallest", Limit: 1.15, Got: large.seconds / small.seconds},
		{Name: "size: memory per record, largest / smallest", Limit: 1.15, Got: large.bytes / small.bytes},
		{Name: "watch, with events: seconds until answered", Limit: 0.15, Got: of("watch", nameEvents)},
		{Name: "watch, by polling: seconds until answered", Limit: boxPoll + 0.15, Got: of("watch", namePolls)},
		{Name: "watch: heap after all builds / after a tenth", Limit: 1.15, Got: peakOf("watch", nameAllBuilds) / peakOf("watch", nameTenth)},
	}
}

// cost of one record.
type cost struct{ seconds, bytes float64 }

// costOf is the cost of a record in the zone of n hosts: what its build took
// more than that of an empty zone, by the records that it has more.
func (r *results) costOf(n int, seconds func(*row) float64) cost {
	w, empty := r.find("size", sizeName(n)), r.find("size", sizeName(0))
	more := float64(hostRecords(n) - hostRecords(0))
	return cost{(seconds(w) - seconds(empty)) / more, (w.peak() - empty.peak()) / more}
}

// perRecord is the cost in the smallest and in the largest zone of `size`.
func (r *results) perRecord(seconds func(*row) float64) (small, large cost) {
	if len(r.Sizes) < 2 {
		return cost{math.NaN(), math.NaN()}, cost{math.NaN(), math.NaN()}
	}
	return r.costOf(slices.Min(r.Sizes), seconds), r.costOf(slices.Max(r.Sizes), seconds)
}

// table prints all sections and the bars, for people.
func (r *results) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores, load %s before, %s, N=%s, medians of %d\n", r.CPU, r.Cores, decimals(r.Load, 1), r.Go, group(r.N), r.Runs)
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n%s: %s\n", s.Name, s.Title)
		bestPeer, floor := r.best(s.Name, peer, (*row).seconds), r.best(s.Name, floor, (*row).seconds)
		fmt.Fprintf(&b, "%-20s %9s %7s %8s %8s %8s %8s %11s\n", "", "seconds", "spread", "cpu s", "/ peer", "/ floor", "peak MB", "signatures")
		for i := range r.Rows {
			w := &r.Rows[i]
			if w.Section != s.Name {
				continue
			}
			fmt.Fprintf(&b, "%-20s %9.3f %6.0f%% %8s %8s %8s %8s %11s\n", w.Name, w.seconds(), 100*spread(w.Seconds), decimals(median(w.CPU), 2),
				decimals(w.seconds()/bestPeer, 2), decimals(w.seconds()/floor, 2), decimals(w.peak()/1e6, 1), made(w))
		}
		if w := r.find(s.Name, "zonebuild"); w != nil && s.Name == "host" { // nearly all of it is signing
			fmt.Fprintf(&b, "zonebuild makes %s signatures a second, the floor %s\n", rate(w.Signatures, w.seconds()), rate(w.Signatures, floor))
		}
		if s.Name == "size" {
			for _, n := range r.Sizes {
				c := r.costOf(n, (*row).seconds)
				fmt.Fprintf(&b, "%-20s %9.2f µs and %.0f bytes a record\n", sizeName(n), c.seconds*1e6, c.bytes)
			}
		}
	}
	if len(r.Bars) > 0 {
		fmt.Fprintf(&b, "\n%-46s %8s %8s %8s\n", "bar, for N=100,000 and two quiet cores", "at most", "got", "fastest")
	}
	for _, x := range r.Bars {
		verdict := "ok"
		if !x.OK {
			verdict = "MISSED"
		}
		fastest := "-"
		if x.Fastest != x.Got {
			fastest = decimals(x.Fastest, 3)
		}
		fmt.Fprintf(&b, "%-46s %8.2f %8s %8s  %s\n", x.Name, x.Limit, decimals(x.Got, 3), fastest, verdict)
	}
	for i, program := range slices.Sorted(maps.Keys(r.Versions)) {
		if i == 0 {
			fmt.Fprintln(&b)
		}
		fmt.Fprintf(&b, "%s: %s\n", program, r.Versions[program])
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(&b, "\nnot installed, not compared: %s (make packages)\n", strings.Join(r.Missing, ", "))
	}
	return b.String()
}

// lines prints one line for each section: the last row of ours, and the fastest
// peer.
func (r *results) lines() string {
	var b strings.Builder
	for _, s := range r.Sections {
		var w *row
		for i := range r.Rows {
			if r.Rows[i].Section == s.Name && r.Rows[i].Role == ours {
				w = &r.Rows[i]
			}
		}
		if w == nil {
			continue
		}
		if s.Name == "watch" {
			fmt.Fprintf(&b, "%-7s challenge until answered: %s s with events, %s s polled; heap %s MB, %s MB at the end\n", s.Name,
				decimals(r.find(s.Name, nameEvents).seconds(), 2), decimals(r.find(s.Name, namePolls).seconds(), 2),
				decimals(r.find(s.Name, nameTenth).peak()/1e6, 1), decimals(w.peak()/1e6, 1))
			continue
		}
		fmt.Fprintf(&b, "%-7s %s: %.2f s", s.Name, w.Name, w.seconds())
		if best := r.best(s.Name, peer, (*row).seconds); !math.IsNaN(best) {
			fmt.Fprintf(&b, ", the fastest peer %.2f s", best)
		}
		fmt.Fprintln(&b)
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(&b, "not installed: %s\n", strings.Join(r.Missing, ", "))
	}
	return b.String()
}

func made(w *row) string {
	if w.Signatures == 0 {
		return "-"
	}
	return group(w.Signatures)
}

// rate is a count by a time, in two digits: more of them would be noise.
func rate(n int, seconds float64) string {
	x := float64(n) / seconds
	if math.IsNaN(x) || math.IsInf(x, 0) || x < 10 {
		return decimals(x, 1)
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-1)
	return group(int(math.Round(x/unit) * unit))
}

// decimals of a number, "-" of none.
func decimals(x float64, n int) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "-"
	}
	return strconv.FormatFloat(x, 'f', n, 64)
}

// group writes a count with commas between thousands.
func group(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
