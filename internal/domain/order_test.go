package domain

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// canonical is the example of RFC 4034 §6.1, in its order.
func canonical() []string {
	return []string{
		"example",
		"a.example",
		"yljkjljk.a.example",
		"Z.a.example",
		"zABC.a.EXAMPLE",
		"z.example",
		`\001.z.example`,
		"*.z.example",
		`\200.z.example`,
	}
}

func TestCompareRFC4034(t *testing.T) {
	list := canonical()
	for i, a := range list {
		for j, b := range list {
			got := MustParse(a).Compare(MustParse(b))
			if sign(got) != sign(i-j) {
				t.Errorf("%s, %s: %d", a, b, got)
			}
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

// byLabels is RFC 4034 §6.1 word for word: the labels from the right, each as a
// string of octets, a missing one first.
func byLabels(a, b Name) int {
	split := func(n Name) (out [][]byte) {
		for w := []byte(n.Wire()); w[0] != 0; w = w[1+w[0]:] {
			out = append(out, w[1:1+w[0]])
		}
		slices.Reverse(out)
		return out
	}
	return slices.CompareFunc(split(a), split(b), bytes.Compare)
}

// TestCompareRandom draws labels from few octets, so that names share much, and
// from those that are special: 0, 1, the dot, and both sides of the letters.
func TestCompareRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(4034, 1))
	const octets = "\x00\x01\x02.*-09@[`ab{\xff"
	random := func() Name {
		var wire []byte
		for range r.IntN(5) {
			label := make([]byte, 1+r.IntN(3))
			for i := range label {
				label[i] = octets[r.IntN(len(octets))]
			}
			wire = append(append(wire, byte(len(label))), label...)
		}
		n, err := FromWire(append(wire, 0))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	less, equal := 0, 0
	for range 200000 {
		a, b := random(), random()
		got, want := sign(a.Compare(b)), sign(byLabels(a, b))
		if got != want || got != -sign(b.Compare(a)) || (got == 0) != (a == b) {
			t.Fatalf("%s, %s: got %d, want %d", a, b, got, want)
		}
		if got < 0 {
			less++
		} else if got == 0 {
			equal++
		}
	}
	if less < 50000 || equal < 1000 {
		t.Errorf("the draw is one-sided: %d less, %d equal", less, equal)
	}
}

// TestCompareLongest compares names of the most labels, which differ in the
// leftmost one.
func TestCompareLongest(t *testing.T) {
	tail := strings.Repeat("a.", 126)
	a, b := MustParse("a."+tail), MustParse("b."+tail)
	if a.Compare(b) >= 0 || b.Compare(a) <= 0 || a.Labels() != 127 || MustParse(tail).Compare(a) >= 0 {
		t.Error("the order of the longest names is wrong")
	}
}

func TestWithin(t *testing.T) {
	tests := []struct {
		name, ancestor string
		within, below  bool
	}{
		{"example.org", "example.org", true, false},
		{"www.example.org", "example.org", true, true},
		{"www.example.org", "Example.Org.", true, true},
		{"a.b.example.org", "example.org", true, true},
		{"example.org", "www.example.org", false, false},
		{"badexample.org", "example.org", false, false}, // ends in the same letters
		{"example.org", ".", true, true},
		{".", ".", true, false},
		{".", "org", false, false},
		{`bad\.example.org`, "example.org", false, false}, // the dot is part of a label
		{`x\007example.org`, "example.org", false, false}, // as is what looks like a length
		{`\003a\007example.org`, "example.org", false, false},
		{"example.org.uk", "example.org", false, false},
		{"b.example.org", "a.example.org", false, false},
	}
	for _, tt := range tests {
		n, ancestor := MustParse(tt.name), MustParse(tt.ancestor)
		if n.IsWithin(ancestor) != tt.within || n.IsBelow(ancestor) != tt.below {
			t.Errorf("%s, %s: within %v, below %v", n, ancestor, n.IsWithin(ancestor), n.IsBelow(ancestor))
		}
	}
}

func TestLabels(t *testing.T) {
	tests := []struct {
		name     string
		labels   int
		parent   string
		wildcard bool
	}{
		{".", 0, ".", false},
		{"org", 1, ".", false},
		{"www.example.org", 3, "example.org", false},
		{"*.example.org", 3, "example.org", true},
		{`\042.example.org`, 3, "example.org", true},
		{"*foo.example.org", 3, "example.org", false},
		{"**.example.org", 3, "example.org", false},
		{"a.*.example.org", 4, "*.example.org", false},
		{`a\.b.org`, 2, "org", false},
	}
	for _, tt := range tests {
		n := MustParse(tt.name)
		if n.Labels() != tt.labels || n.Parent() != MustParse(tt.parent) || n.IsWildcard() != tt.wildcard {
			t.Errorf("%s: %d labels, parent %s, wildcard %v", n, n.Labels(), n.Parent(), n.IsWildcard())
		}
	}
}

func BenchmarkCompare(b *testing.B) {
	x, y := []byte(MustParse("host12345.dept.example.org").Wire()), []byte(MustParse("host12346.dept.example.org").Wire())
	b.ReportAllocs()
	for b.Loop() {
		if Compare(x, y) >= 0 {
			b.Fatal("the order is wrong")
		}
	}
}

func BenchmarkAppendText(b *testing.B) {
	origin, text := MustParse("example.org"), []byte("Host12345.Dept")
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = AppendText(buf[:0], text, origin); err != nil {
			b.Fatal(err)
		}
	}
}
