package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/authority"
	"zonebuild/internal/cli"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// maxSkew is how far the clock of this machine may be from that of the file
// system which holds the drop box.
const maxSkew = 5 * time.Minute

// finding is one line of a check.
type finding struct {
	What  string `json:"what"`
	Error string `json:"error,omitempty"` // empty: it is right

	zone   domain.Name // of a name server
	server bool
	silent bool           // the server does not answer at all
	addr   netip.AddrPort // of one that is silent
}

func (p *program) checkCommand() *ucli.Command {
	return &ucli.Command{
		Name: "check", Usage: "see whether the drop box, the clock, the aliases and the name servers are right", ArgsUsage: "[NAME...]",
		Description: "Asks the name servers of the names, or of those in acmehook.toml. Exit status 4 if\nsomething is wrong.\n\nExample: acmehook -C /jail check example.org",
		Flags:       []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			h, err := p.open(c)
			if err != nil {
				return err
			}
			names := h.config.Names
			if c.NArg() > 0 {
				names = nil
			}
			for _, text := range c.Args().Slice() {
				n, err := domain.Parse(text)
				if err != nil {
					return cli.Usagef("name %s", err)
				}
				names = append(names, n)
			}
			ctx, cancel := context.WithTimeout(c.Context, h.config.Timeout)
			defer cancel()
			list := append(h.checkBox(ctx), h.checkServers(ctx, names)...)
			list = append(list, h.checkAliases(ctx)...)
			code := cli.ExitOK
			for _, f := range list {
				if f.Error != "" {
					code = cli.ExitNo
				}
				if !c.Bool("json") {
					text := f.What + ": right"
					if f.Error != "" {
						text = f.What + ": " + f.Error
					}
					fmt.Fprintln(p.out, diag.Escape(text))
				}
			}
			if c.Bool("json") {
				if err := p.printer(c).Report(struct {
					Checks []finding `json:"checks"`
				}{list}); err != nil {
					return err
				}
			}
			return cli.Exit(code)
		},
	}
}

func result(what string, err error) finding {
	if err != nil {
		return finding{What: what, Error: err.Error()}
	}
	return finding{What: what}
}

// checkBox writes a file as Add does, and compares its time with the clock.
func (h *hook) checkBox(ctx context.Context) []finding {
	at, err := h.writer.Try(ctx)
	box := result("drop box "+h.config.DropBox, err)
	if err != nil {
		return []finding{box}
	}
	if skew := time.Since(at); skew > maxSkew || skew < -maxSkew {
		err = fmt.Errorf("it is %s away from that of the drop box", skew.Round(time.Second))
	}
	return []finding{box, result("clock", err)}
}

// atOnce bounds the questions that are on their way at the same time.
const atOnce = 16

// each does something for every number below n, some at the same time.
func each(n int, do func(i int)) {
	var all sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i := range n {
		free <- struct{}{}
		all.Go(func() {
			do(i)
			<-free
		})
	}
	all.Wait()
}

// checkServers asks every address of the name servers for the SOA of each zone. One that
// does not answer for a zone is not asked for the next: the names of a line may be a hundred.
func (h *hook) checkServers(ctx context.Context, names []domain.Name) []finding {
	type found struct {
		zone    domain.Name
		servers []authority.Server
		err     error
	}
	zones := make([]found, len(names))
	each(len(names), func(i int) {
		z := &zones[i]
		z.zone, z.servers, z.err = h.serversOf(ctx, names[i])
	})
	var out []finding
	var addrs []netip.AddrPort
	asked := map[netip.AddrPort][]int{} // what is found of it
	seen := map[domain.Name]bool{}
	for i, z := range zones {
		switch {
		case z.err != nil:
			out = append(out, result("name servers of "+names[i].String(), z.err))
		case !seen[z.zone]:
			seen[z.zone] = true
			for _, s := range z.servers {
				if asked[s.Addr] == nil {
					addrs = append(addrs, s.Addr)
				}
				asked[s.Addr] = append(asked[s.Addr], len(out))
				out = append(out, finding{What: "name server " + s.String(), zone: z.zone, server: true})
			}
		}
	}
	each(len(addrs), func(i int) {
		var silence error
		for _, n := range asked[addrs[i]] {
			f := &out[n]
			err := silence
			if silence == nil {
				silence, err = h.askSOA(ctx, addrs[i], f.zone)
			}
			if f.silent = silence != nil; f.silent {
				f.addr = addrs[i]
			}
			if err != nil {
				f.Error = err.Error()
			}
		}
	})
	return out
}

// askSOA says what is wrong with one server for one zone; silence, which is an error too,
// that it does not answer at all.
func (h *hook) askSOA(ctx context.Context, addr netip.AddrPort, zone domain.Name) (silence, err error) {
	in, err := authority.Exchange(ctx, addr, authority.Question(zone, dns.TypeSOA, false))
	switch {
	case err != nil:
		return err, err
	case in.Rcode == dns.RcodeNameError && in.Authoritative && len(h.config.Servers) > 0:
		// Where its zone begins is not known here: a name without records is one
		// that a challenge proves as well.
	case in.Rcode != dns.RcodeSuccess:
		err = fmt.Errorf("answers %s for %s", authority.Rcode(in), zone)
	case !in.Authoritative:
		err = fmt.Errorf("answers without authority for %s", zone)
	}
	return nil, err
}

// spared drops the servers that do not answer, where enough others do: what waits for a
// challenge leaves the dead out by the same rule (dead-after, min-servers).
func (h *hook) spared(all []finding) []finding {
	right, asked := map[domain.Name]int{}, map[domain.Name]int{}
	for _, f := range all {
		if f.server {
			asked[f.zone]++
			if f.Error == "" {
				right[f.zone]++
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(f finding) bool {
		return f.silent && authority.Enough(right[f.zone], asked[f.zone], h.config.MinServers)
	})
}

// serversOf are the servers that a wait would ask.
func (h *hook) serversOf(ctx context.Context, name domain.Name) (zone domain.Name, servers []authority.Server, err error) {
	if len(h.config.Servers) > 0 {
		for _, a := range h.config.Servers {
			servers = append(servers, authority.Server{Addr: a})
		}
		return name, servers, nil
	}
	f, err := h.finder()
	if err != nil {
		return zone, nil, err
	}
	if zone, err = f.Zone(ctx, name); err != nil {
		return zone, nil, err
	}
	servers, _, err = f.Servers(ctx, zone)
	return zone, servers, err
}

// checkAliases wants a CNAME at _acme-challenge of each name that leads to the
// owner which is written instead.
func (h *hook) checkAliases(ctx context.Context) []finding {
	var out []finding
	for name, owner := range h.config.Alias {
		at, err := domain.Parse("_acme-challenge." + name.String())
		if err == nil {
			var servers []authority.Server
			if _, servers, err = h.serversOf(ctx, name); err == nil {
				var end domain.Name
				if end, err = authority.FollowCNAME(ctx, servers, at); err == nil && end != owner {
					err = fmt.Errorf("the CNAME there leads to %s, not to %s", end, owner)
				}
				if err != nil && end == at {
					err = fmt.Errorf("no CNAME is there, it should lead to %s", owner)
				}
			}
		}
		out = append(out, result("alias of "+at.String(), err))
	}
	return out
}
