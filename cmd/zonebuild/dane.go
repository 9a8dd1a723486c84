package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/authority"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/dane"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/starttls"
	"zonebuild/internal/validate"
	"zonebuild/tlsa"
)

func (p *program) verifyDANECommand() *ucli.Command {
	return &ucli.Command{
		Name:      "verify-dane",
		Usage:     "check by DANE what every address of a TLS service shows",
		ArgsUsage: "HOST PORT[/PROTO]",
		Description: "It validates DNSSEC itself, from the root, and needs no tree. One line for each\n" +
			"address; exit status 0 if all validate, 4 if one does not, 1 if it could not be told.\n\n" +
			"Example: zonebuild verify-dane mail.example.org 25\n" +
			"         zonebuild verify-dane --mx example.org",
		Flags: []ucli.Flag{
			&ucli.BoolFlag{Name: "4", Usage: "IPv4 addresses only"},
			&ucli.BoolFlag{Name: "6", Usage: "IPv6 addresses only"},
			&ucli.BoolFlag{Name: "mx", Usage: "check all mail servers of a domain: DOMAIN [PORT]"},
			&ucli.StringFlag{Name: "srv", Usage: "check all servers of a domain for a `SERVICE` such as xmpp-client or _imap._tcp: DOMAIN"},
			&ucli.BoolFlag{Name: "map", Usage: "check every line of the tree's certificate map"},
			&ucli.StringFlag{Name: "starttls", Usage: "`PROTOCOL` before TLS: " + protocolNames() + " (default: by port)"},
			&ucli.StringFlag{Name: "sni", Usage: "ask the server for `NAME` (default: the TLSA base domain)"},
			&ucli.BoolFlag{Name: "key-types", Usage: "ask for an RSA and for an ECDSA key, each in its own handshake of TLS 1.2"},
			&ucli.BoolFlag{Name: "ee-name-check", Usage: "a certificate must name the host for usage 3, too"},
			&ucli.StringFlag{Name: "ca-file", Usage: "`FILE` of the CAs for usages 0 and 1 (default: those of the system)"},
			&ucli.StringFlag{Name: "at", Usage: "`RFC3339` at which certificates must be valid, or from now on, as +14d (default: now)"},
			&ucli.StringFlag{Name: "timeout", Value: "15s", Usage: "`TIME` for each step: an answer of DNS, a connection, a handshake"},
			&ucli.StringSliceFlag{Name: "resolver", Usage: "`ADDRESS` of the resolver (default: /etc/resolv.conf)"},
			&ucli.StringFlag{Name: "trust-anchor", Usage: "`FILE` of DS or DNSKEY records to validate from (default: those of the root)"},
			&ucli.BoolFlag{Name: "trust-ad", Usage: "do not validate, believe the AD bit of the resolver"},
			&ucli.StringFlag{Name: "zone", Usage: "take a zone from `FILE` instead of DNS, before it is published"},
			nagiosFlag(), jsonFlag(),
		},
		Action: p.verifyDANE,
	}
}

func protocolNames() string {
	var names []string
	for _, p := range starttls.Protocols() {
		names = append(names, p.String())
	}
	return strings.Join(names, ", ")
}

func (p *program) verifyDANE(c *ucli.Context) error {
	if err := checkReportForm(c); err != nil {
		return err
	}
	if c.Bool("4") && c.Bool("6") {
		return cli.Usagef("-4 and -6 exclude each other")
	}
	ask, err := daneQuestion(c)
	if err != nil {
		return err
	}
	s, err := p.session(c)
	if err != nil {
		return err
	}
	o, err := s.daneOptions(c)
	if err != nil {
		return err
	}
	if c.Bool("map") {
		return s.verifyMap(c, o)
	}
	report, err := ask(c.Context, o)
	if err != nil {
		return err
	}
	return s.reportDANE(c.Bool("nagios"), &report)
}

// daneQuestion reads the arguments.
func daneQuestion(c *ucli.Context) (func(context.Context, dane.Options) (dane.Report, error), error) {
	modes := 0
	for _, set := range []bool{c.Bool("mx"), c.IsSet("srv"), c.Bool("map")} {
		if set {
			modes++
		}
	}
	if modes > 1 {
		return nil, cli.Usagef("--mx, --srv and --map exclude each other")
	}
	args := c.Args().Slice()
	switch {
	case c.Bool("map"):
		if len(args) > 0 {
			return nil, cli.Usagef("verify-dane --map takes no argument: the map names the hosts")
		}
		return nil, nil
	case c.Bool("mx") && len(args) == 1:
		args = append(args, "25")
	case c.IsSet("srv") && len(args) == 1:
		args = append(args, "1") // the records name the port
	case c.IsSet("srv"):
		return nil, cli.Usagef("verify-dane --srv needs one domain")
	}
	if len(args) != 2 {
		return nil, cli.Usagef("verify-dane needs a host and a port, or --mx and a domain, or --srv SERVICE and a domain, or --map")
	}
	host, err := hostName(args[0])
	if err != nil {
		return nil, cli.Usagef("host %s", err)
	}
	text, proto, has := strings.Cut(args[1], "/")
	if !has {
		proto = "tcp"
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return nil, cli.Usagef("port %q: not a number from 1 to 65535", text)
	}
	if !slices.Contains([]string{"tcp", "udp", "sctp"}, proto) {
		return nil, cli.Usagef("port %q: %q is neither tcp, udp nor sctp", args[1], proto)
	}
	switch {
	case c.Bool("mx") && proto != "tcp":
		return nil, cli.Usagef("--mx is for tcp")
	case c.Bool("mx"):
		return func(ctx context.Context, o dane.Options) (dane.Report, error) {
			return dane.VerifyMX(ctx, host, uint16(port), o)
		}, nil
	case c.IsSet("srv"):
		return srvQuestion(c.String("srv"), host)
	}
	return func(ctx context.Context, o dane.Options) (dane.Report, error) {
		return dane.Verify(ctx, tlsa.Service{Host: host, Port: uint16(port), Proto: proto}, o)
	}, nil
}

// hostName reads the name of a host.
func hostName(text string) (domain.Name, error) {
	if _, err := netip.ParseAddr(text); err == nil {
		return domain.Name{}, fmt.Errorf("%q: an address has no TLSA records", text)
	}
	n, err := domain.Parse(text)
	switch {
	case err != nil:
		return n, err
	case strings.HasPrefix(text, "_"):
		return n, fmt.Errorf("%q: the host is wanted, not the owner of its records", text)
	case n == domain.Root || strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "":
		return n, fmt.Errorf("%q: not a host name of letters, digits, - and _", text)
	}
	return n, nil
}

// srvQuestion takes the service as "imap" or as "_imap._tcp".
func srvQuestion(text string, of domain.Name) (func(context.Context, dane.Options) (dane.Report, error), error) {
	service, proto, has := strings.Cut(strings.ToLower(text), ".")
	if !has {
		proto = "tcp"
	}
	service, proto = strings.TrimPrefix(service, "_"), strings.TrimPrefix(proto, "_")
	if service == "" || strings.Trim(service, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || proto != "tcp" && proto != "udp" {
		return nil, cli.Usagef("--srv %q: not a service such as xmpp-client or _imap._tcp", text)
	}
	return func(ctx context.Context, o dane.Options) (dane.Report, error) {
		return dane.VerifySRV(ctx, service, proto, of, o)
	}, nil
}

// Bounds of the files that options name.
const (
	maxCAFile   = 16 << 20
	maxZoneFile = 4 << 30
)

func (s *session) daneOptions(c *ucli.Context) (o dane.Options, err error) {
	o = dane.Options{No4: c.Bool("6"), No6: c.Bool("4"), ByPort: true, KeyTypes: c.Bool("key-types"), EEName: c.Bool("ee-name-check")}
	if c.IsSet("starttls") {
		o.ByPort = false
		if o.Protocol, err = starttls.ParseProtocol(c.String("starttls")); err != nil {
			return o, cli.Usagef("--starttls: %s", err)
		}
	}
	if c.IsSet("sni") {
		if o.ServerName, err = hostName(c.String("sni")); err != nil {
			return o, cli.Usagef("--sni: %s", err)
		}
	}
	if o.Timeout, err = config.ParseDuration(c.String("timeout")); err != nil || o.Timeout <= 0 {
		return o, cli.Usagef("--timeout %q: not a time such as 15s", c.String("timeout"))
	}
	if o.At, err = s.at(c); err != nil {
		return o, err
	}
	if o.Roots, err = s.roots(c.String("ca-file")); err != nil {
		return o, err
	}
	o.Source, err = s.source(c, o.Timeout)
	return o, err
}

// at is the instant of --at.
func (s *session) at(c *ucli.Context) (time.Time, error) {
	text, relative := strings.CutPrefix(c.String("at"), "+")
	switch {
	case !c.IsSet("at"):
		return s.now, nil
	case !relative:
		return instant("at", text)
	}
	d, err := config.ParseDuration(text)
	if err != nil {
		return s.now, cli.Usagef("--at: %s", err)
	}
	return s.now.Add(d), nil
}

// roots are the public CAs. A system may have none.
func (s *session) roots(file string) (*x509.CertPool, error) {
	if file == "" {
		pool, err := x509.SystemCertPool()
		if err != nil || pool.Equal(x509.NewCertPool()) {
			return nil, nil // what needs them will say so
		}
		return pool, nil
	}
	pem, _, err := durable.ReadFile(s.path(file), maxCAFile)
	if err != nil {
		return nil, fmt.Errorf("read CAs: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CAs: %s: no certificate in PEM", file)
	}
	return pool, nil
}

// source is who tells what DNS says.
func (s *session) source(c *ucli.Context, timeout time.Duration) (validate.Source, error) {
	resolver, err := addressList(c, "resolver")
	if err != nil {
		return nil, err
	}
	if c.Bool("trust-ad") && c.IsSet("trust-anchor") {
		return nil, cli.Usagef("--trust-ad and --trust-anchor exclude each other")
	}
	if len(resolver) == 0 {
		system, err := authority.SystemResolver()
		if err != nil && !c.IsSet("zone") { // a zone file may be enough
			return nil, err
		}
		resolver = system
	}
	var source validate.Source
	if c.Bool("trust-ad") {
		source = validate.TrustAD{Resolver: validate.Recursive(resolver), Timeout: 2 * timeout}
	} else {
		anchors := validate.RootAnchors()
		if file := c.String("trust-anchor"); file != "" {
			text, _, err := durable.ReadFile(s.path(file), maxCAFile)
			if err != nil {
				return nil, fmt.Errorf("read trust anchors: %w", err)
			}
			if anchors, err = validate.ReadAnchors(bytes.NewReader(text), file); err != nil {
				return nil, err
			}
		}
		source = &validate.Validator{Resolver: validate.Recursive(resolver), Anchors: anchors, Now: s.now, Timeout: 2 * timeout}
	}
	if file := c.String("zone"); file != "" {
		return s.zoneSource(file, source)
	}
	return source, nil
}

// zoneSource puts a zone file before DNS.
func (s *session) zoneSource(file string, source validate.Source) (validate.Source, error) {
	f, _, err := durable.Open(s.path(file), maxZoneFile)
	if err != nil {
		return nil, fmt.Errorf("read zone: %w", err)
	}
	defer f.Close()
	origin, err := domain.FromFileName(filepath.Base(file))
	if err != nil {
		origin = domain.Root
	}
	apex, err := apexOf(f, origin)
	if err != nil {
		return nil, fmt.Errorf("read zone %s: %w", file, err)
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, fmt.Errorf("read zone: %w", err)
	}
	z, err := validate.ReadZone(f, apex, file)
	if err != nil {
		return nil, err
	}
	z.Else = source
	return z, nil
}

// apexOf is the owner of the first SOA record of a zone file.
func apexOf(f *os.File, origin domain.Name) (domain.Name, error) {
	p := dns.NewZoneParser(f, origin.String(), "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if rr.Header().Rrtype == dns.TypeSOA {
			return domain.Parse(rr.Header().Name)
		}
	}
	return domain.Name{}, errors.Join(p.Err(), errors.New("no SOA"))
}
