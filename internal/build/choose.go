package build

import (
	"slices"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
)

// orphanZones are published zones that are not in the tree. Until somebody says
// `retire`, they count as zones whose sources are missing (an empty mount must
// look like that too): their last good records stay published and signed.
func (t *Tree) orphanZones() []*config.Zone {
	var out []*config.Zone
	for _, apex := range t.orphans() {
		z := &config.Zone{Name: apex, SOA: "soa/" + apex.FileName(), Policy: t.Config.Default}
		if prev, err := t.Previous(apex); err != nil || len(prev.DNSKEYs()) == 0 {
			z.Policy.Sign = config.SignFalse
		}
		out = append(out, z)
	}
	return out
}

func (t *Tree) choose(names []domain.Name) ([]*config.Zone, error) {
	var out []*config.Zone
	for _, n := range names {
		z := t.Config.Find(n)
		if z == nil {
			orphans := t.orphanZones()
			i := slices.IndexFunc(orphans, func(z *config.Zone) bool { return z.Name == n })
			if i < 0 {
				return nil, cli.Usagef("zone %s is not in the tree", n)
			}
			z = orphans[i]
		}
		if !slices.ContainsFunc(out, func(o *config.Zone) bool { return o.Name == n }) { // twice would wait for itself
			out = append(out, z)
		}
	}
	if len(names) == 0 {
		out = t.orphanZones()
		for i := range t.Config.Zones {
			out = append(out, &t.Config.Zones[i])
		}
	}
	return out, nil
}

func namesOf(zones []*config.Zone) (out []domain.Name) {
	for _, z := range zones {
		out = append(out, z.Name)
	}
	return out
}
