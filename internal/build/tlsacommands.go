package build

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
	Left     bool          `json:"line_gone,omitempty"` // no line asks for the records any more
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
	Stale    bool          `json:"stale,omitempty"` // the sources of the zone cannot be read: it is as the last build saw it
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
	p := t.newPass(ctx, Options{Now: now, DryRun: true, Log: slog.New(slog.DiscardHandler)})
	p.preview = true
	for i := range t.Config.Zones {
		z := &t.Config.Zones[i]
		st, err := t.loadTLSA(z.Name)
		switch {
		case err != nil:
			return nil, err
		case len(t.certs.groups[z.Name]) == 0 && st == nil:
			continue
		}
		j := p.start(z)
		j.head = t.readHead(z.Name)
		p.rollOver(j)
		r := t.certs.of(z.Name)
		if r == nil {
			continue
		}
		for i, g := range r.left {
			o := r.leftOwners[i]
			out = append(out, TLSALine{
				Zone: z.Name, Owner: g.Owner, Host: g.Host, Port: g.Port, Proto: g.Proto, Place: t.certs.name, Left: true,
				Phase: o.Set.Phase, Since: o.Set.Since, Records: o.Set.Records, TTL: o.Set.TTL, Looked: o.Looked, Stale: r.stale,
				Faults: slices.DeleteFunc(slices.Clone(r.faults), func(d diag.Diagnostic) bool { return d.Owner != g.Owner.String() }),
			})
		}
		for i, g := range r.groups {
			o := r.owners[i]
			for _, l := range g.Lines {
				out = append(out, TLSALine{
					Zone: z.Name, Owner: g.Owner, Host: g.Host, Port: g.Port, Proto: g.Proto,
					Place: l.Pos.String(), CertFile: l.CertFile, Next: l.Next,
					Phase: o.Set.Phase, Since: o.Set.Since, Waits: o.Set.Waits, Ready: o.Set.Ready, ReadyAt: o.Set.ReadyAt,
					Guarded: o.Set.Guarded, Records: o.Set.Records, TTL: o.Set.TTL, Looked: o.Looked, Stale: r.stale, Faults: o.Faults,
				})
			}
		}
	}
	return out, nil
}

// Service is what the line is about.
func (l *TLSALine) Service() tlsa.Service {
	return tlsa.Service{Host: l.Host, Port: l.Port, Proto: l.Proto}
}

// Alarm reports whether somebody must see to the line.
func (l *TLSALine) Alarm() bool {
	return slices.ContainsFunc(l.Faults, func(d diag.Diagnostic) bool { return isAlarm(d.Code) })
}

// TLSAAnswer says whether the next key of a service may be deployed.
type TLSAAnswer struct {
	Ready   bool       `json:"ready"`
	Reason  string     `json:"reason,omitempty"` // why not
	ReadyAt time.Time  `json:"ready_at,omitzero"`
	Phase   tlsa.Phase `json:"state"`
}

// TLSAReady is for whoever deploys keys. Errors: that cannot be told.
func (t *Tree) TLSAReady(ctx context.Context, service tlsa.Service, now time.Time) (a TLSAAnswer, err error) {
	list, err := t.TLSA(ctx, now)
	if err != nil {
		return a, err
	}
	owner, err := service.Owner()
	if err != nil {
		return a, cli.Usagef("%s", err)
	}
	list = slices.DeleteFunc(list, func(l TLSALine) bool { return l.Owner != owner || l.Left })
	if len(list) == 0 {
		if why := t.certs.partial; why != "" {
			return a, fmt.Errorf("read the certificate map: %s", why)
		}
		return a, cli.Usagef("no line of the certificate map is for %s", service)
	}
	l := list[0]
	if l.Stale {
		return a, fmt.Errorf("read the sources of %s: they have faults (zonebuild check %[1]s)", l.Zone)
	}
	a = TLSAAnswer{Ready: l.Ready, ReadyAt: l.ReadyAt, Phase: l.Phase}
	fault := slices.IndexFunc(l.Faults, func(d diag.Diagnostic) bool {
		return d.Code == "tlsa-next" || d.Code == "tlsa-guard" || d.Code == "tlsa-full"
	})
	switch {
	case a.Ready:
	case fault >= 0:
		a.Reason = l.Faults[fault].Message
	case !a.ReadyAt.IsZero():
		a.Reason = "caches may lack it until " + a.ReadyAt.UTC().Format(time.RFC3339)
	case len(l.Waits) > 0 && l.Phase == tlsa.PhasePublishing:
		a.Reason = strings.Join(l.Waits, ", ")
	case !slices.ContainsFunc(list, func(l TLSALine) bool { return l.Next != "" }):
		a.Reason = "no line of the service has next="
	case l.Phase == tlsa.PhaseSteady || l.Phase == tlsa.PhaseNew && len(l.Waits) == 0:
		a.Reason = "there is no next key, or it is the present one"
	default:
		a.Reason = strings.Join(append([]string{"state " + string(l.Phase)}, l.Waits...), ", ")
	}
	return a, nil
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
	if !ok {
		return cli.Usagef("no line of the certificate map is for %s", service)
	}
	mapped := t.mapped(apex, owner)
	return t.withState(ctx, apex, func(*State) error {
		st, err := t.loadTLSA(apex)
		if err != nil {
			return err
		}
		known := st != nil && st.find(owner) != nil
		switch {
		case !mapped && !known:
			return cli.Usagef("no line of the certificate map is for %s", service)
		case !mapped && mark != MarkRetire:
			return cli.Usagef("no line of the certificate map is for %s any more: `tlsa retire` ends its records", service)
		case !known:
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
