package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"zonebuild/dnsextra"
	"zonebuild/internal/authority"
	"zonebuild/internal/cli"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// toASCII turns a name in another script into A-labels (RFC 5891); names in ASCII
// stay as they are.
func toASCII(name string) (string, error) {
	if !strings.ContainsFunc(name, func(r rune) bool { return r > '~' }) {
		return name, nil
	}
	prefix := ""
	for _, p := range []string{"*.", "_acme-challenge."} {
		if rest, ok := strings.CutPrefix(name, p); ok {
			prefix, name = p, rest
		}
	}
	a, err := idna.Lookup.ToASCII(name)
	if err != nil {
		return "", fmt.Errorf("name %q: %w", name, err)
	}
	return prefix + a, nil
}

// await waits until every server shows the challenges, or, gone, none of them.
func (h *hook) await(ctx context.Context, list []dnsextra.Challenge, gone bool) error {
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	groups, err := h.groups(ctx, list)
	if err != nil {
		return err
	}
	for _, g := range groups {
		o := authority.AwaitOptions{
			Servers: g.servers, Want: g.want, Gone: gone, DeadAfter: h.config.DeadAfter, MinServers: h.config.MinServers,
			Stop: func() error { return h.refused(list) },
		}
		if isTerminal(h.err) {
			last := ""
			o.Progress = func(waiting []string) {
				if text := strings.Join(waiting, "; "); text != last {
					last = text
					fmt.Fprintf(h.err, "acmehook: %s\n", diag.Escape(text))
				}
			}
		}
		if err := authority.Await(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// maxReport bounds the builder's report, in octets: another jail writes it.
const maxReport = 4 << 20

// refused tells what the builder refused of the challenges, if it says so.
func (h *hook) refused(list []dnsextra.Challenge) error {
	if h.config.Report == "" {
		return nil
	}
	data, _, err := durable.ReadFile(h.config.Report, maxReport)
	if err != nil {
		return nil // not mounted, or not written yet
	}
	report := dnsextra.ParseReport(data)
	for _, c := range list {
		if r, ok := report.Find(c.FileName()); ok {
			return cli.Rejectedf("the builder refused the challenge at %s: %s [%s]", c.Owner, r.Message, r.Code)
		}
	}
	return nil
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// group is what one set of servers must show.
type group struct {
	servers []authority.Server
	want    []authority.Expected
}

// groups finds the servers of each challenge: those of the configuration, or the
// NS set of its zone. A CNAME at the owner is followed, as the CA does.
func (h *hook) groups(ctx context.Context, list []dnsextra.Challenge) ([]group, error) {
	if len(h.config.Servers) > 0 {
		g := group{}
		for _, a := range h.config.Servers {
			g.servers = append(g.servers, authority.Server{Addr: a})
		}
		for _, c := range list {
			g.want = append(g.want, authority.Expected{Owner: c.Owner, Value: c.Value})
		}
		return []group{g}, nil
	}
	f, err := h.finder()
	if err != nil {
		return nil, err
	}
	byZone := map[domain.Name]*group{}
	var order []domain.Name
	for _, c := range list {
		owner, zone, servers, err := h.find(ctx, f, c)
		if err != nil {
			return nil, err
		}
		g := byZone[zone]
		if g == nil {
			g = &group{servers: servers}
			byZone[zone] = g
			order = append(order, zone)
		}
		if e := (authority.Expected{Owner: owner, Value: c.Value}); !slices.Contains(g.want, e) {
			g.want = append(g.want, e)
		}
	}
	var out []group
	for _, zone := range order {
		out = append(out, *byZone[zone])
	}
	return out, nil
}

func (h *hook) finder() (f authority.Finder, err error) {
	if f.Resolver = h.config.Resolver; len(f.Resolver) == 0 {
		f.Resolver, err = authority.SystemResolver()
	}
	return f, err
}

func (h *hook) find(ctx context.Context, f authority.Finder, c dnsextra.Challenge) (owner, zone domain.Name, servers []authority.Server, err error) {
	name := c.Proves()
	if name == c.Owner { // an alias: its own name must not be looked up before it exists
		name = name.Parent()
	}
	if zone, err = f.Zone(ctx, name); err != nil {
		return owner, zone, nil, err
	}
	servers, skipped, err := f.Servers(ctx, zone)
	if err != nil {
		return owner, zone, nil, err
	}
	for _, s := range skipped {
		fmt.Fprintf(h.err, "acmehook: left out: %s\n", diag.Escape(s))
	}
	if owner, err = authority.FollowCNAME(ctx, servers, c.Owner); err != nil || owner == c.Owner || owner.IsWithin(zone) {
		return owner, zone, servers, err
	}
	if zone, err = f.Zone(ctx, owner.Parent()); err != nil {
		return owner, zone, nil, err
	}
	servers, _, err = f.Servers(ctx, zone)
	return owner, zone, servers, err
}

// elapsed is a time for people.
func elapsed(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }
