package build

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// TLSALine is what is known of one line of certs.map.
type TLSALine struct {
	Zone     domain.Name   `json:"zone"`
	Owner    domain.Name   `json:"owner"`
	Host     domain.Name   `json:"host"`
	Port     uint16        `json:"port"`
	Proto    string        `json:"proto"`
	Place    string        `json:"place"` // in certs.map
	CertFile string        `json:"certificate"`
	Next     string        `json:"next,omitempty"`
	Phase    tlsa.Phase    `json:"state"`
	Since    time.Time     `json:"since,omitzero"`
	Waits    []string      `json:"waits_for,omitempty"`
	Ready    bool          `json:"ready"` // the next key may be deployed
	ReadyAt  time.Time     `json:"ready_at,omitzero"`
	Guarded  bool          `json:"guarded,omitempty"`
	Records  []tlsa.Record `json:"records"`
	TTL      uint32        `json:"ttl"`
	Looked   time.Time     `json:"looked,omitzero"`
	Faults   diag.List     `json:"faults,omitempty"`
}

// TLSA is how the rollovers of all lines stand now, by zone and owner: a step
// without a look at the world, of which nothing is kept. Errors: certs.map or what
// is known of a zone cannot be read.
func (t *Tree) TLSA(ctx context.Context, now time.Time) ([]TLSALine, error) {
	t.scanCerts()
	if t.certs.partial != "" && len(t.certs.groups) == 0 {
		return nil, fmt.Errorf("read the certificate map: %s", t.certs.partial)
	}
	var out []TLSALine
	p := t.newPass(ctx, Options{Now: now, DryRun: true, Preview: true, Log: slog.New(slog.DiscardHandler)})
	for i := range t.Config.Zones {
		z := &t.Config.Zones[i]
		if len(t.certs.groups[z.Name]) == 0 {
			continue
		}
		if _, err := t.loadTLSA(z.Name); err != nil {
			return nil, err
		}
		j := p.start(z)
		j.head = t.readHead(z.Name)
		p.rollOver(ctx, j)
		r := t.certs.of(z.Name)
		for i, g := range r.groups {
			o := r.owners[i]
			for _, l := range g.Lines {
				out = append(out, TLSALine{
					Zone: z.Name, Owner: g.Owner, Host: g.Host, Port: g.Port, Proto: g.Proto,
					Place: l.Pos.String(), CertFile: l.CertFile, Next: l.Next,
					Phase: o.Set.Phase, Since: o.Set.Since, Waits: o.Set.Waits, Ready: o.Set.Ready, ReadyAt: o.Set.ReadyAt,
					Guarded: o.Set.Guarded, Records: o.Set.Records, TTL: o.Set.TTL, Looked: o.Looked, Faults: o.Faults,
				})
			}
		}
	}
	return out, nil
}

// Marks that an operator can set.
const (
	MarkRetire = "retire" // records that no file asks for any more may go
	MarkAccept = "accept" // the guard lets the set pass
	MarkSeen   = "seen"   // servers that cannot be asked serve the published set
)

// MarkTLSA says by hand what cannot be seen, once: the next build acts on it.
// Errors: the map has no line for the service; the zone is locked.
func (t *Tree) MarkTLSA(ctx context.Context, service tlsa.Service, mark string) error {
	t.scanCerts()
	owner, err := service.Owner()
	if err != nil {
		return cli.Usagef("%s", err)
	}
	apex, ok := t.zoneOf(owner)
	if !ok || !t.mapped(apex, owner) {
		return cli.Usagef("no line of the certificate map is for %s", service)
	}
	return t.withState(ctx, apex, func(*State) error {
		st, err := t.loadTLSA(apex)
		if err != nil {
			return err
		}
		if st == nil || st.find(owner) == nil {
			return fmt.Errorf("%s %s: no build has seen its line yet", mark, service)
		}
		m := &st.find(owner).Marks
		switch mark {
		case MarkRetire:
			m.Retire = true
		case MarkAccept:
			m.Accept = true
		case MarkSeen:
			m.Seen = true
		}
		return t.saveTLSA(apex, st)
	})
}

// mapped reports whether the map has a line for an owner.
func (t *Tree) mapped(apex, owner domain.Name) bool {
	for _, g := range t.certs.groups[apex] {
		if g.Owner == owner {
			return true
		}
	}
	return false
}
