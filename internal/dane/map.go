package dane

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"zonebuild/internal/starttls"
	"zonebuild/tlsa"
)

// MapReport is what was found of all lines of the map with one owner.
type MapReport struct {
	Report
	Service string   `json:"service"`
	Lines   []string `json:"lines"` // FILE:LINE of each
	Notes   []string `json:"line_notes,omitempty"`
}

// VerifyMap checks all owners of the map, several at once. keys gives those of
// the lines of an owner. Error: the context has ended.
func VerifyMap(ctx context.Context, m tlsa.Map, keys func(tlsa.Group) []tlsa.Keys, o Options) (Verdict, []MapReport, error) {
	groups := m.Groups()
	reports, errs := make([]MapReport, len(groups)), make([]error, len(groups))
	slot := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, g := range groups {
		slot <- struct{}{}
		wg.Go(func() {
			reports[i], errs[i] = VerifyGroup(ctx, g, keys(g), o)
			<-slot
		})
	}
	wg.Wait()
	var vs []Verdict
	for i, r := range reports {
		if errs[i] != nil {
			return "", nil, errs[i]
		}
		vs = append(vs, r.verdicts()...)
	}
	return Together(vs), reports, nil
}

// VerifyGroup checks the lines of one owner of certs.map against what is
// published and what is served: not only that the servers validate, but also
// that the key of each line is published and shown. keys are those of the lines,
// in their order. Error: the context has ended.
func VerifyGroup(ctx context.Context, g tlsa.Group, keys []tlsa.Keys, o Options) (MapReport, error) {
	first := g.Lines[0]
	out := MapReport{Service: g.Service.String()}
	for _, l := range g.Lines {
		out.Lines = append(out.Lines, fmt.Sprintf("%s:%d", l.Pos.File, l.Pos.Line))
	}
	if !first.SNI.IsZero() {
		o.ServerName = first.SNI
	}
	if first.StartTLS != "" {
		o.ByPort = false
		if o.Protocol = starttls.Direct; first.StartTLS != "off" {
			p, err := starttls.ParseProtocol(first.StartTLS)
			if err != nil {
				return out, fmt.Errorf("verify %s: %w", g.Service, err)
			}
			o.Protocol = p
		}
	}
	if first.Probe.IsValid() {
		port := first.Probe.Port()
		if port == 0 {
			port = g.Port
		}
		o.Probe = []netip.AddrPort{netip.AddrPortFrom(first.Probe.Addr(), port)}
	}
	o.KeyTypes = o.KeyTypes || len(g.Lines) > 1
	o.NoServer = first.ProbeOff
	r, err := Verify(ctx, g.Service, o)
	if err != nil {
		return out, err
	}
	out.Report = r
	for i, l := range g.Lines {
		out.Notes = append(out.Notes, lineNotes(&r.Checks[0], l, keys[i])...)
	}
	return out, nil
}

// lineNotes says what a line has that DNS or the servers do not.
func lineNotes(c *Check, l tlsa.Line, k tlsa.Keys) []string {
	at := fmt.Sprintf("%s:%d", l.Pos.File, l.Pos.Line)
	if k.Live.Err != nil {
		return []string{fmt.Sprintf("%s: %s: %s", at, l.CertFile, k.Live.Err)}
	}
	record, err := tlsa.Associate(l.Kind, k.Live.Material)
	if err != nil {
		return []string{fmt.Sprintf("%s: %s: %s", at, l.CertFile, err)}
	}
	var notes []string
	published := false
	for _, r := range c.Records {
		published = published || r == record
	}
	if !published && len(c.Records) > 0 {
		notes = append(notes, fmt.Sprintf("%s: the record of %s is not among the TLSA records of %s", at, l.CertFile, c.Owner))
	}
	if len(c.served) > 0 && !c.shows(k) {
		notes = append(notes, fmt.Sprintf("%s: no address shows the key of %s", at, l.CertFile))
	}
	return notes
}

// shows reports whether any server showed the live or the next key of a line.
func (c *Check) shows(k tlsa.Keys) bool {
	for _, m := range []*tlsa.Material{k.Live.Material, k.Next.Material} {
		if m == nil {
			continue
		}
		want, err := tlsa.Associate(tlsa.DefaultKind, m)
		if err != nil {
			continue
		}
		for _, leaf := range c.served {
			if tlsa.Associated(want, [][]byte{leaf}) {
				return true
			}
		}
	}
	return false
}
