package build

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// deaf is an Observer of which no host answers, but those of the last zone.
type deaf struct{}

func (deaf) Servers(context.Context, domain.Name, domain.Name) ([]tlsa.ServerSeen, bool) {
	return nil, true
}

func (deaf) Hosts(ctx context.Context, g tlsa.Group, _ []netip.Addr) ([]tlsa.HostSeen, bool) {
	if !g.Host.IsWithin(domain.MustParse("z.example")) {
		<-ctx.Done()
	}
	return nil, true
}

// TestTLSALookTurns: however many owners have hosts that do not answer, each is
// looked at again and again, also in the zone that comes last.
func TestTLSALookTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const dead, alive = 150, 10
		zones := []*job{{z: &config.Zone{Name: domain.MustParse("a.example")}}, {z: &config.Zone{Name: domain.MustParse("z.example")}}}
		work := [][]rolling{make([]rolling, dead), make([]rolling, alive)}
		looks := map[domain.Name]int{}
		for i, list := range work {
			for k := range list {
				host := domain.MustParse(fmt.Sprintf("h%d.%s", k, zones[i].z.Name))
				list[k].group = tlsa.Group{Service: tlsa.Service{Host: host, Port: 25, Proto: "tcp"}, Owner: host, Lines: []tlsa.Line{{}}}
			}
		}
		p := &pass{ctx: t.Context(), tree: &Tree{Config: &config.Config{}}, o: Options{Observer: deaf{}}}
		rounds := 2 * (dead + alive) / lookTurns
		for range rounds {
			begin := time.Now()
			p.looks = newLooks()
			var all []dueLook
			for _, list := range work {
				for k := range list {
					w := &list[k]
					w.look, w.looked = begin.Sub(w.was.Looked) >= lookMoving, false
					if w.look {
						all = append(all, dueLook{w.group.Owner, w.was.Looked})
					}
				}
			}
			p.looks.turn = turns(all)
			for i, j := range zones {
				p.lookAround(j, work[i])
			}
			p.looks.close()
			if took := time.Since(begin); took > lookBudget+(1+lookTurns)*lookEach {
				t.Fatalf("the looks of a pass took %s", took)
			}
			for _, list := range work {
				for k := range list {
					if list[k].looked {
						list[k].was.Looked = begin
						looks[list[k].group.Owner]++
					}
				}
			}
			time.Sleep(2 * time.Minute)
		}
		for _, list := range work {
			for _, w := range list {
				if looks[w.group.Owner] < 2 {
					t.Errorf("%s was looked at %d times in %d passes", w.group.Owner, looks[w.group.Owner], rounds)
				}
			}
		}
	})
}
