package daemon

import (
	"fmt"
	"runtime"
	"testing"

	"zonebuild/internal/domain"
	"zonebuild/internal/watch"
)

// TestMemoryFlat: a daemon that builds again and again holds no more than at first.
// `make bench ONLY=watch` prints it for ten thousand builds.
func TestMemoryFlat(t *testing.T) {
	s := newSiteIn(t, memoryDir(t), false)
	d := s.daemon()
	d.ledger.zones = map[zoneName]zoneFacts{}
	defer d.closeLock()
	defer d.speak()()
	site, err := d.newSite(t.Context(), s.open())
	if err != nil {
		t.Fatal(err)
	}
	build := func(from, to int) uint64 {
		t.Helper()
		for i := from; i < to; i++ {
			s.drop(fmt.Sprintf("h%d.", i%100), fmt.Sprintf("%s%03d", goodValue[:40], i%997))
			s.write("primary/example.org", fmt.Sprintf("ns1 A 192.0.2.53\nh%d TXT x%d\n", i%1000, i))
			results, err := site.Build(t.Context(), watch.Request{Zones: []domain.Name{domain.MustParse("example.org")}, Moving: func(string) bool { return false }})
			if err != nil || len(results) != 1 || results[0].Outcome != watch.Done {
				t.Fatalf("build %d: %+v %v", i, results, err)
			}
		}
		s.mu.Lock()
		s.log.Reset()
		s.mu.Unlock()
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	first := build(0, 150)
	last := build(150, 500)
	t.Logf("held after 150 builds: %d octets, after 500: %d", first, last)
	if last > first+first/2+1<<20 {
		t.Errorf("%d octets after 150 builds, %d after 500", first, last)
	}
}
