package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
)

type keyReport struct {
	Zone      domain.Name `json:"zone"`
	Tag       uint16      `json:"tag"`
	Algorithm uint8       `json:"algorithm"`
	Role      string      `json:"role"`
	DS        string      `json:"ds,omitempty"`
}

func (p *program) keygenCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "keygen",
		Usage:     "generate the keys of a zone that has none",
		ArgsUsage: "ZONE | --all-missing",
		Description: "Never overwrites a key and never makes one for a zone that was signed before.\n\n" +
			"Example: zonebuild -C /srv/dns keygen example.org",
		Flags: []ucli.Flag{
			&ucli.BoolFlag{Name: "all-missing", Usage: "for every zone that is to be signed and has no key"},
			&ucli.StringFlag{Name: "algorithm", Usage: "`NUMBER` or mnemonic (default: the zone's policy)"},
			&ucli.BoolFlag{Name: "csk", Usage: "one key that signs everything instead of KSK and ZSK"},
			jsonFlag(),
		},
		Action: p.keygen,
	}
}

func (p *program) keygen(c *ucli.Context) error {
	all := c.Bool("all-missing")
	if all == (c.NArg() > 0) {
		return cli.Usagef("keygen needs a zone or --all-missing")
	}
	s, err := p.session(c)
	if err != nil {
		return err
	}
	o := build.KeyOptions{CSK: c.Bool("csk"), Now: s.now}
	if text := c.String("algorithm"); text != "" {
		if o.Algorithm, err = config.ParseAlgorithm(text); err != nil {
			return cli.Usagef("--algorithm: %s", err)
		}
	}
	t, err := s.tree(c)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := s.writes(t); err != nil {
		return err
	}
	names, err := zones(c)
	if err != nil {
		return err
	}
	unlock, err := t.LockKeys(c.Context)
	if err != nil {
		return err
	}
	defer unlock()
	if all {
		names = t.MissingKeys()
	}
	list := []keyReport{}
	for _, name := range names {
		keys, err := t.MakeKeys(name, o)
		if err != nil {
			return err
		}
		for i := range keys {
			r := keyReport{Zone: name, Tag: keys[i].Tag, Algorithm: keys[i].DNSKEY.Algorithm, Role: roleOf(&keys[i])}
			if keys[i].KSK {
				r.DS = dsText(dnssec.DS(&keys[i], dns.SHA256))
			}
			list = append(list, r)
			if !s.printer.JSON {
				fmt.Fprintf(s.printer.Out, "%s %s %d algorithm %d\n", r.Zone, r.Role, r.Tag, r.Algorithm)
			}
		}
	}
	if s.printer.JSON {
		return s.printer.Report(struct {
			Keys []keyReport `json:"keys"`
		}{list})
	}
	return nil
}

func roleOf(k *dnssec.Key) string {
	switch {
	case k.KSK && k.ZSK:
		return "CSK"
	case k.KSK:
		return "KSK"
	}
	return "ZSK"
}

// dsText is a DS without TTL, as registrars want it.
func dsText(ds *dns.DS) string {
	return fmt.Sprintf("%s IN DS %d %d %d %s", ds.Hdr.Name, ds.KeyTag, ds.Algorithm, ds.DigestType, strings.ToUpper(ds.Digest))
}

func (p *program) dsCommand() *ucli.Command {
	return &ucli.Command{
		Name:        "ds",
		Usage:       "print the DS records that the parent zone must publish",
		ArgsUsage:   "ZONE",
		Description: "Example: zonebuild -C /srv/dns ds example.org",
		Flags: []ucli.Flag{
			&ucli.IntFlag{Name: "digest-type", Value: int(dns.SHA256), Usage: "`NUMBER`: 2 SHA-256, 4 SHA-384"},
			jsonFlag(),
		},
		Action: func(c *ucli.Context) error {
			name, err := oneZone(c)
			if err != nil {
				return err
			}
			digest := c.Int("digest-type")
			if digest != int(dns.SHA256) && digest != int(dns.SHA384) {
				return cli.Usagef("--digest-type %s: must be 2 or 4", strconv.Itoa(digest))
			}
			s, t, err := p.openTree(c)
			if err != nil {
				return err
			}
			defer t.Close()
			set, err := t.DS(name, uint8(digest))
			if err != nil {
				return err
			}
			texts := []string{}
			for _, ds := range set {
				texts = append(texts, dsText(ds))
			}
			if s.printer.JSON {
				return s.printer.Report(struct {
					Zone domain.Name `json:"zone"`
					DS   []string    `json:"ds"`
				}{name, texts})
			}
			for _, text := range texts {
				fmt.Fprintln(s.printer.Out, text)
			}
			return nil
		},
	}
}
