package verify

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"zonebuild/internal/domain"
)

// TestParts: a file that is read in parts on several cores is the same zone, with
// the same faults at the same lines, as on one; also when its lines are so short
// that no part has the room that it was given.
func TestParts(t *testing.T) {
	const apex = "e"
	const shortest = -1 // of 15 octets
	for name, pad := range map[string]func(at int) int{
		"shortest lines": func(int) int { return shortest },
		"short lines":    func(int) int { return 0 },
		"long lines":     func(int) int { return 120 },
		"short ones in the middle": func(at int) int {
			if at > partSize && at < 2*partSize {
				return 0
			}
			return 250
		},
	} {
		var b strings.Builder
		b.WriteString("; a comment\ne.\t1\tIN\tSOA\ta.e. b.e. 1 2 3 4 5\ne.\t1\tIN\tNS\ta.e.\n")
		for i := 0; b.Len() < 3*partSize; i++ {
			if n := pad(b.Len()); n == shortest {
				fmt.Fprintf(&b, "%s.e. 1 NS .\n", strconv.FormatInt(int64(36*36*36+i), 36))
			} else {
				fmt.Fprintf(&b, "h%07d.e.\t1\tIN\tA\t10.1.1.1\nh%07d.e.\t1\tIN\tTXT\t\"%s\"\n", i, i, strings.Repeat("x", n))
			}
			if i%50000 == 17 {
				b.WriteString("h" + fmt.Sprintf("%07d", i) + ".e.\t1\tIN\tA\tx\n")
			}
		}
		text := []byte(b.String())
		read := func(cores int) (*zone, *faults) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			f := &faults{file: "zone"}
			z, err := load(bytes.NewReader(text), domain.MustParse(apex), nil, f)
			if err != nil {
				t.Fatal(err)
			}
			return z, f
		}
		one, faultsOne := read(1)
		for _, cores := range []int{2, 3} {
			many, faultsMany := read(cores)
			if len(one.recs) != len(many.recs) || len(one.names) != len(many.names) || one.ordered != many.ordered || one.count != many.count || !bytes.Equal(one.firstSOA, many.firstSOA) {
				t.Fatalf("%s, %d cores: %d records, %d names; on one core %d and %d", name, cores, len(many.recs), len(many.names), len(one.recs), len(one.names))
			}
			for i := range one.recs {
				a, b := one.recs[i], many.recs[i]
				if a.line != b.line || a.typ != b.typ || a.ttl != b.ttl || !bytes.Equal(one.owner(i), many.owner(i)) || !bytes.Equal(one.rdata(i), many.rdata(i)) {
					t.Fatalf("%s, %d cores: record %d differs", name, cores, i)
				}
			}
			if len(faultsOne.list) < 1 || faultsOne.errors != faultsMany.errors {
				t.Fatalf("%s: %d faults, on one core %d", name, faultsMany.errors, faultsOne.errors)
			}
			for i := range faultsOne.list {
				if faultsOne.list[i].String() != faultsMany.list[i].String() {
					t.Errorf("%s: %s, on one core %s", name, faultsMany.list[i], faultsOne.list[i])
				}
			}
		}
	}
}

// TestPartsTrusted: lines are found in the trusted file wherever a part begins.
func TestPartsTrusted(t *testing.T) {
	var b strings.Builder
	for i := 0; b.Len() < 3*partSize; i++ {
		fmt.Fprintf(&b, "h%07d.e.\t1\tIN\tA\t10.1.1.1\nh%07d.e.\t1\tIN\tTXT\t\"%0120d\"\n", i, i, i)
	}
	text := []byte(b.String())
	changed := bytes.Replace(text, []byte("h0030000.e.\t1\tIN\tA\t10.1.1.1"), []byte("h0030000.e.\t1\tIN\tA\t10.1.1.2"), 1)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	f := &faults{file: "zone"}
	z, err := load(bytes.NewReader(changed), domain.MustParse("e"), Trust(text), f)
	if err != nil || len(f.list) > 0 {
		t.Fatal(err, f.list)
	}
	unknown := 0
	for i := range z.recs {
		if !z.recs[i].known {
			unknown++
		}
	}
	if unknown != 1 {
		t.Errorf("%d records are not known, want 1", unknown)
	}
}
