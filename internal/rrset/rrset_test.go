package rrset

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"zonebuild/internal/domain"
)

// plain is a record as the model has it.
type plain struct {
	owner string
	typ   uint16
	ttl   int64
	rdata string
	line  uint32
}

func random(r *rand.Rand, n int) []plain {
	labels := []string{"a", "B", "z", "\\000", "\\001", "*", "aa", "sixsix", "yljkjljk"}
	var out []plain
	for i := range n {
		name := "example."
		for range r.IntN(4) {
			name = labels[r.IntN(len(labels))] + "." + name
		}
		rdata := make([]byte, r.IntN(5))
		for k := range rdata {
			rdata[k] = byte(r.IntN(3))
		}
		out = append(out, plain{domain.MustParse(name).Wire(), uint16(1 + r.IntN(3)), int64(r.IntN(3)) - 1, string(rdata), uint32(i + 1)})
	}
	return out
}

func setOf(t *testing.T, list []plain) *Set {
	t.Helper()
	return builderOf(t, list).Set()
}

func builderOf(t *testing.T, list []plain) *Builder {
	t.Helper()
	var b Builder
	file, err := b.AddFile("f")
	if err != nil {
		t.Fatal(err)
	}
	addTo(t, &b, file, list)
	return &b
}

func addTo(t *testing.T, b *Builder, file uint16, list []plain) {
	t.Helper()
	for _, p := range list {
		if err := b.Add([]byte(p.owner), p.typ, p.ttl, []byte(p.rdata), Pos{File: file, Line: p.line, Column: int(p.line % 300)}); err != nil {
			t.Fatal(err)
		}
	}
}

func listOf(s *Set) []plain {
	var out []plain
	for i := range s.Len() {
		ttl, ok := s.TTL(i)
		p := plain{string(s.Owner(i)), s.Type(i), int64(ttl), string(s.Rdata(i)), uint32(s.Pos(i).Line)}
		if !ok {
			p.ttl = -1
		}
		out = append(out, p)
	}
	return out
}

func sorted(list []plain) []plain {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b plain) int {
		if c := domain.Compare([]byte(a.owner), []byte(b.owner)); c != 0 {
			return c
		}
		if a.typ != b.typ {
			return int(a.typ) - int(b.typ)
		}
		return bytes.Compare([]byte(a.rdata), []byte(b.rdata))
	})
	return out
}

func equal(t *testing.T, what string, got, want []plain) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n%v\nwant\n%v", what, got, want)
	}
}

// TestModel compares every operation with the same one on a plain list.
func TestModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b := random(r, r.IntN(40)), random(r, r.IntN(40))
		sa := setOf(t, a)
		equal(t, "added", listOf(sa), a)
		joined, halves := builderOf(t, b), []Builder{*builderOf(t, a[:len(a)/2]), *builderOf(t, a[len(a)/2:])}
		if err := joined.Join(halves); err != nil {
			t.Fatal(err)
		}
		if err := joined.Add([]byte{0}, 1, 2, []byte("last"), Pos{Line: 3}); err != nil {
			t.Fatal(err)
		}
		equal(t, "joined", listOf(joined.Set()), append(slices.Concat(b, a), plain{"\x00", 1, 2, "last", 3}))
		whole := builderOf(t, b)
		sizes := []int{r.IntN(len(a) + 2), 0, r.IntN(len(a) + 2)}
		parts := whole.Parts(sizes)
		addTo(t, &parts[0], 0, a[:len(a)/2])
		addTo(t, &parts[2], 0, a[len(a)/2:])
		if fit := parts[0].Len() <= sizes[0] && parts[2].Len() <= sizes[2]; whole.hasRoomOf(parts) != fit {
			t.Errorf("%d and %d records in room for %v: it is theirs: %t", parts[0].Len(), parts[2].Len(), sizes, !fit)
		}
		room := cap(whole.s.index)
		if fits := whole.hasRoomOf(parts); whole.Join(parts) != nil || fits && cap(whole.s.index) != room {
			t.Error("parts in their room were not joined there")
		}
		equal(t, "joined where the parts had room", listOf(whole.Set()), slices.Concat(b, a))
		s := sa.Sorted()
		model := sorted(a)
		equal(t, "sorted", listOf(s), model)
		for n := 2; n <= 6; n++ {
			equal(t, "sorted in parts", listOf(sa.sortedIn(n)), model)
		}
		for n := 1; n <= 6; n++ {
			several, err := sortIn(n, []*Set{sa, setOf(t, b), {}, sa})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "several sorted", listOf(several), sorted(slices.Concat(a, b, a)))
		}
		equal(t, "untouched by that", listOf(sa), a)
		for i := range model {
			if end := s.OwnerEnd(i); end != i+streak(model[i:], func(p plain) bool { return p.owner == model[i].owner }) {
				t.Fatalf("OwnerEnd(%d) = %d", i, end)
			}
			if end := s.RRsetEnd(i); end != i+streak(model[i:], func(p plain) bool { return p.owner == model[i].owner && p.typ == model[i].typ }) {
				t.Fatalf("RRsetEnd(%d) = %d", i, end)
			}
			lo, hi := s.FindRRset([]byte(model[i].owner), model[i].typ)
			if lo > i || hi <= i || model[lo].owner != model[i].owner || model[lo].typ != model[i].typ {
				t.Fatalf("FindRRset of record %d: %d, %d", i, lo, hi)
			}
			for k := range 10 {
				sought := []byte(model[r.IntN(len(model))].owner)
				if k%2 > 0 {
					sought = append([]byte{1, byte(r.IntN(256))}, sought...)
				}
				lo, hi := s.Find(sought)
				if l, h := s.FindNear(sought, i); l != lo || h != hi {
					t.Fatalf("FindNear(%q, %d) = %d, %d; Find gives %d, %d", sought, i, l, h, lo, hi)
				}
			}
		}
		nowhere := []byte(domain.MustParse("no.such.example").Wire())
		lo, hi := s.Find(nowhere)
		if lo != hi || lo > 0 && domain.Compare([]byte(model[lo-1].owner), nowhere) >= 0 || lo < len(model) && domain.Compare([]byte(model[lo].owner), nowhere) <= 0 {
			t.Fatalf("Find of what is not there: %d, %d", lo, hi)
		}
		edited := s.Edit(func(i int) (uint32, bool) { return uint32(i), i%2 == 0 })
		var want []plain
		for i, p := range model {
			if i%2 == 0 {
				p.ttl = int64(i)
				want = append(want, p)
			}
		}
		equal(t, "edited", listOf(edited), want)
		equal(t, "untouched by that", listOf(s), model)
		own := sa.Sorted()
		edited = own.EditOwn(func(i int) (uint32, bool) {
			for k := max(i-1, 0); k < len(model); k++ {
				if string(own.Owner(k)) != model[k].owner || own.Type(k) != model[k].typ || string(own.Rdata(k)) != model[k].rdata {
					t.Fatalf("at record %d, record %d is another", i, k)
				}
			}
			return uint32(i), i%2 == 0
		})
		equal(t, "edited in place", listOf(edited), want)
		kept := s.Filter(func(i int) bool { return i%3 == 0 })
		want = nil
		for i, p := range model {
			if i%3 == 0 {
				want = append(want, p)
			}
		}
		equal(t, "filtered", listOf(kept), want)
		if len(model) > 0 {
			i := r.IntN(len(model))
			other, err := s.WithRdata(i, []byte("other"))
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Clone(model)
			want[i].rdata = "other"
			equal(t, "with other rdata", listOf(other), want)
			equal(t, "untouched by it", listOf(s), model)
		}
	}
}

func streak(list []plain, same func(plain) bool) int {
	n := 0
	for n < len(list) && same(list[n]) {
		n++
	}
	return n
}

// TestFindNear finds each owner of a set from each other one, however far.
func TestFindNear(t *testing.T) {
	var list []plain
	for i := range 300 {
		list = append(list, plain{domain.MustParse(fmt.Sprintf("h%03d.example.", i/2*2)).Wire(), uint16(i%2 + 1), 300, "x", uint32(i + 1)})
	}
	s := setOf(t, list).Sorted()
	for n := -1; n <= 301; n++ {
		sought := []byte(domain.MustParse(fmt.Sprintf("h%03d.example.", max(n, 0))).Wire())
		if n < 0 {
			sought = []byte(domain.MustParse("a.example.").Wire())
		}
		lo, hi := s.Find(sought)
		for i := range list {
			if l, h := s.FindNear(sought, i); l != lo || h != hi {
				t.Fatalf("FindNear(%q, %d) = %d, %d; Find gives %d, %d", sought, i, l, h, lo, hi)
			}
		}
	}
}

// TestLarge: records never straddle two chunks, and large sets are adopted whole.
func TestLarge(t *testing.T) {
	var list []plain
	for i := range 400 {
		list = append(list, plain{domain.MustParse(fmt.Sprintf("h%03d.example.", i)).Wire(), 16, 300, string(bytes.Repeat([]byte{byte(i)}, 7000)), uint32(i + 1)})
	}
	s := setOf(t, list)
	equal(t, "added", listOf(s), list)
	few, all := setOf(t, list[:3]), slices.Concat(list[:3], list, list[:3], list[100:], list[:2])
	for n := 1; n <= 5; n++ {
		several, err := sortIn(n, []*Set{few, s, few, setOf(t, list[100:]), setOf(t, list[:2])})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "several sorted", listOf(several), sorted(all))
		if several.Files() != 5 || several.index[several.Len()-1].file != 3 {
			t.Errorf("%d files, the last record is of file %d", several.Files(), several.index[several.Len()-1].file)
		}
		for i := range several.Len() - 1 {
			if several.SameOwner(i, i+1) != bytes.Equal(several.Owner(i), several.Owner(i+1)) {
				t.Fatalf("records %d and %d: one owner: %t", i, i+1, several.SameOwner(i, i+1))
			}
		}
	}
	other, err := s.WithRdata(0, []byte("x"))
	if err != nil || string(other.Rdata(0)) != "x" || len(s.Rdata(0)) != 7000 {
		t.Errorf("%v", err)
	}
}

// TestBounds: what the index cannot hold is refused, and a place beyond its bounds is
// unknown.
func TestBounds(t *testing.T) {
	var b Builder
	if err := b.Add([]byte{0}, 1, 0, make([]byte, MaxRdata+1), Pos{}); err == nil {
		t.Error("rdata of 65,536 octets")
	}
	if err := b.Add(make([]byte, 256), 1, 0, nil, Pos{}); !errors.Is(err, domain.ErrLongName) {
		t.Error(err)
	}
	for range 1 << 16 {
		if _, err := b.AddFile("f"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.AddFile("f"); !errors.Is(err, ErrFiles) {
		t.Error(err)
	}
	parts := make([]Builder, maxChunks+1)
	for i := range parts {
		if err := parts[i].Add([]byte{0}, 1, 0, nil, Pos{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Join(parts); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if b.s.index != nil || parts[0].s.index == nil {
		t.Error("the parts were moved")
	}
	s := setOf(t, []plain{{"\x00", 1, MaxTTL, "", 299}, {"\x00", 1, -1, "", 1}})
	if p := s.Pos(0); p.Column != 0 || p.Line != 299 || p.File != "f" {
		t.Errorf("%+v", p)
	}
	if ttl, ok := s.TTL(0); ttl != MaxTTL || !ok {
		t.Error(ttl, ok)
	}
}
