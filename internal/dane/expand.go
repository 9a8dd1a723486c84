package dane

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/starttls"
	"zonebuild/internal/validate"
	"zonebuild/tlsa"
)

// VerifyMX checks all mail servers of a domain (RFC 7672 §2.2). An insecure MX
// set makes the domain insecure: whoever can forge it names the servers. Error:
// the context has ended.
func VerifyMX(ctx context.Context, mail domain.Name, port uint16, o Options) (Report, error) {
	e := expansion{from: mail, what: "MX", port: port, names: []domain.Name{mail}}
	a := e.lookUp(ctx, mail, dns.TypeMX, o)
	t := target{Service: tlsa.Service{Port: port, Proto: "tcp"}, protocol: o.Protocol, mail: true}
	if o.ByPort {
		t.protocol = starttls.ForPort(port)
		if t.protocol == starttls.Direct {
			t.protocol = starttls.SMTP
		}
	}
	if e.fault == nil && a.Exists != validate.Data { // RFC 5321 §5.1: the domain is its own MX
		t.Host, t.names = mail, e.names
		return run(ctx, o, []target{t})
	}
	for _, rr := range a.RRs {
		if rr, ok := rr.(*dns.MX); ok {
			e.add(t, rr.Mx, port, rr.Preference, 0)
		}
	}
	return e.run(ctx, o, fmt.Sprintf("%s takes no mail (RFC 7505)", mail))
}

// VerifySRV checks all servers of a service of a domain (RFC 7673), such as
// "xmpp-client" and "tcp". Errors: the names make no owner of SRV records; the
// context has ended.
func VerifySRV(ctx context.Context, service, proto string, of domain.Name, o Options) (Report, error) {
	owner, err := domain.Parse("_" + service + "._" + proto + "." + of.String())
	if err != nil {
		return Report{}, fmt.Errorf("verify the service %s: %w", service, err)
	}
	e := expansion{from: of, what: "SRV", names: []domain.Name{of}}
	a := e.lookUp(ctx, owner, dns.TypeSRV, o)
	if e.fault == nil && a.Exists != validate.Data {
		r := fail(NoAddress, fmt.Sprintf("there are no SRV records of %s: %s", owner, a.Reason))
		e.fault = &r
	}
	for _, rr := range a.RRs {
		if rr, ok := rr.(*dns.SRV); ok {
			t := target{Service: tlsa.Service{Port: rr.Port, Proto: proto}, protocol: o.Protocol, domain: of}
			if o.ByPort {
				t.protocol = forService(service, rr.Port)
			}
			e.add(t, rr.Target, rr.Port, rr.Priority, rr.Weight)
		}
	}
	return e.run(ctx, o, fmt.Sprintf("%s says that there is no such service (RFC 2782)", owner))
}

// forService is the protocol of a service by its name (RFC 6186, RFC 6120,
// RFC 8314), or by its port.
func forService(service string, port uint16) starttls.Protocol {
	switch service {
	case "imaps", "pop3s", "submissions", "xmpps-client", "xmpps-server", "ldaps", "ftps", "nntps", "https":
		return starttls.Direct
	case "submission":
		return starttls.SMTP
	case "postgresql":
		return starttls.Postgres
	}
	if p, err := starttls.ParseProtocol(service); err == nil {
		return p
	}
	return starttls.ForPort(port)
}

// expansion is a set of hosts that DNS names.
type expansion struct {
	from    domain.Name
	what    string
	port    uint16
	names   []domain.Name // that their certificates may have, too
	targets []weighed
	bad     []string
	null    bool // the set says that there is nothing
	fault   *Result
}

type weighed struct {
	target
	weight uint16
}

// lookUp asks for the set. What is neither data nor absence is the fault.
func (e *expansion) lookUp(ctx context.Context, name domain.Name, typ uint16, o Options) validate.Answer {
	a := (&job{o: o}).lookUp(ctx, name, typ)
	bad := func(v Verdict, format string, args ...any) {
		r := fail(v, fmt.Sprintf(format, args...))
		e.fault, a.RRs = &r, nil
	}
	switch v := failure(a.Status); {
	case v != Validated:
		bad(v, "%s records of %s: %s", e.what, name, a.Reason)
	case a.Status == validate.Insecure:
		bad(Insecure, "the %s records of %s are insecure: %s", e.what, name, a.Reason)
	case a.Exists == validate.NXDomain && typ == dns.TypeMX:
		bad(NoAddress, "%s does not exist: %s", name, a.Reason)
	}
	if a.Name != name && typ == dns.TypeMX {
		e.names = append(e.names, a.Name)
	}
	return a
}

// add takes a host, once for each port.
func (e *expansion) add(t target, host string, port, preference, weight uint16) {
	n, err := domain.Parse(host)
	switch {
	case err != nil:
		e.bad = append(e.bad, fmt.Sprintf("%q: %s", host, err))
		return
	case n == domain.Root:
		e.null = true
		return
	case port == 0:
		e.bad = append(e.bad, fmt.Sprintf("%s has port 0", n))
		return
	}
	t.Host, t.names, t.preference = n, e.names, &preference
	e.targets = append(e.targets, weighed{t, weight})
}

// run checks the hosts in the order in which clients try them.
func (e *expansion) run(ctx context.Context, o Options, nothing string) (Report, error) {
	slices.SortFunc(e.targets, func(a, b weighed) int {
		return cmp.Or(cmp.Compare(*a.preference, *b.preference), -cmp.Compare(a.weight, b.weight), a.Host.Compare(b.Host), cmp.Compare(a.Port, b.Port))
	})
	var targets []target
	seen := map[tlsa.Service]bool{}
	for _, t := range e.targets {
		if !seen[t.Service] {
			targets = append(targets, t.target)
		}
		seen[t.Service] = true
	}
	var faults []Result
	switch {
	case e.fault != nil:
		faults = append(faults, *e.fault)
	case len(targets) == 0 && len(e.bad) == 0 && e.null:
		faults = append(faults, fail(NoAddress, nothing))
	case e.null:
		e.bad = append(e.bad, fmt.Sprintf("the name . beside others in the %s set", e.what))
	}
	if len(targets) > maxHosts {
		faults = append(faults, fail(Unsupported, fmt.Sprintf("%s has %d hosts, and at most %d are asked", e.from, len(targets), maxHosts)))
		targets = targets[:maxHosts]
	}
	if len(e.bad) > 0 {
		faults = append(faults, fail(NoAddress, fmt.Sprintf("the %s set of %s names what is no host: %s", e.what, e.from, strings.Join(e.bad[:min(len(e.bad), 3)], ", "))))
	}
	r, err := run(ctx, o, targets)
	if err != nil {
		return r, err
	}
	if len(faults) > 0 {
		r.Checks = append(r.Checks, Check{Host: e.from, Port: e.port, Results: faults})
		r.sum()
	}
	return r, nil
}
