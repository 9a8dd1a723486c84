package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// shape is a zone of one kind and size, on disk for all tools.
type shape struct {
	apex       string
	n          int
	optOut     bool // NSEC3 with opt-out, else NSEC
	records    int
	signatures int    // that our signer makes
	flat       string // the zone as one file
	keys       string // the directory of its keys, which all tools use
	primary    func(io.Writer) error
}

// hosts makes the files of `host` with n hosts: signatures are of A and AAAA of
// each, of the apex (SOA, NS, MX, TXT, DNSKEY), of the servers' A, and of the
// NSEC of each name.
func (b *bench) hosts(ctx context.Context, n int) (*shape, error) {
	return b.shape(ctx, "host", &shape{
		apex: hostApex, n: n, records: hostRecords(n), signatures: 2*n + 5 + 2 + (n + 3),
		primary: func(w io.Writer) error { return writeHosts(w, n) },
	})
}

// delegations makes the files of `tld` with n delegations: signatures are of
// each DS, of the apex (SOA, NS, DNSKEY, NSEC3PARAM), of the servers' A, and of
// the NSEC3 of apex, servers and delegations with a DS.
func (b *bench) delegations(ctx context.Context, n int) (*shape, error) {
	secure := (n + 4) / 5
	return b.shape(ctx, "tld", &shape{
		apex: tldApex, n: n, optOut: true, records: delegationRecords(n), signatures: secure + 4 + 2 + (secure + 3),
		primary: func(w io.Writer) error { return writeDelegations(w, n) },
	})
}

func (b *bench) shape(ctx context.Context, kind string, s *shape) (*shape, error) {
	dir := b.path(kind)
	t, err := b.treeOf(s, filepath.Join(dir, "keytree"), "")
	if err != nil {
		return nil, err
	}
	if _, err := b.run(ctx, b.zonebuild, "-C", t.dir, "keygen", "--all-missing"); err != nil {
		return nil, err
	}
	s.keys = filepath.Join(t.dir, "keys")
	s.flat = filepath.Join(dir, "flat")
	return s, create(s.flat, joined(s.primary))
}

// treeOf makes a tree with the zone and, once there are any, its keys.
func (b *bench) treeOf(s *shape, dir, policy string) (tree, error) {
	if s.optOut {
		policy += "denial = \"nsec3-opt-out\"\n"
	}
	t, err := newTree(dir, policy)
	if err != nil {
		return t, err
	}
	if s.keys != "" {
		if err := os.CopyFS(filepath.Join(dir, "keys"), os.DirFS(s.keys)); err != nil {
			return t, err
		}
		// CopyFS makes what it copies readable: a private key must not be
		private, err := filepath.Glob(filepath.Join(dir, "keys", "*.private"))
		if err != nil {
			return t, err
		}
		for _, p := range private {
			if err := os.Chmod(p, 0o600); err != nil {
				return t, err
			}
		}
	}
	return t, t.add(s.apex, s.primary)
}

// bases are the paths of the keys without their endings.
func (s *shape) bases() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(s.keys, "*.key"))
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], ".key")
	}
	return files, err
}

// zonebuild is a full build of a tree that was never built.
func (b *bench) fullBuild(name string, r role, s *shape, t tree) entrant {
	return entrant{
		name: name, role: r,
		prepare: t.forget,
		run: func(ctx context.Context) (took, error) {
			return b.run(ctx, b.zonebuild, "-C", t.dir, "build", "--new-zone")
		},
		check: between(t.signed(s.apex), s.signatures, s.signatures),
	}
}

// sampled is the policy under which our build verifies as it does by default in
// a zone of 100,000 hosts: below 100,000 signatures the default would verify all.
const sampled = "verify-signatures = \"sample\"\n"

// signers are the peers that sign a zone at once.
func (b *bench) signers(ctx context.Context, s *shape) ([]entrant, error) {
	bases, err := s.bases()
	if err != nil {
		return nil, err
	}
	out := func(name string) string { return b.path("signed-by-" + name) }
	// A signer may sign the DNSKEY set with both keys, or leave NSEC3PARAM alone.
	lo, hi := s.signatures-2, s.signatures+2
	ldns := []string{"-o", s.apex, "-f", out("ldns")}
	bind := []string{"-S", "-K", s.keys, "-o", s.apex, "-f", out("bind")}
	most := hi
	if s.optOut {
		ldns = append(ldns, "-n", "-p", "-t", "0")
		bind = append(bind, "-3", "-", "-H", "0", "-A")
		most = s.signatures + s.n // ldns proves and signs insecure delegations too
	}
	ldns = append(append(ldns, s.flat), bases...)
	bind = append(bind, s.flat)
	sign := func(name string, r role, file string, most int, program string, args ...string) entrant {
		return entrant{
			name: name, role: r, program: program,
			run: func(ctx context.Context) (took, error) {
				path, _ := find(program)
				return b.run(ctx, path, args...)
			},
			check: between(file, lo, most),
			clean: remover(file),
		}
	}
	all := []entrant{
		sign("ldns-signzone", peer, out("ldns"), most, "ldns-signzone", ldns...),
		sign("dnssec-signzone -P", peer, out("bind"), hi, "dnssec-signzone", append([]string{"-P"}, bind...)...),
		sign("dnssec-signzone", verifier, out("bind"), hi, "dnssec-signzone", bind...),
	}
	if _, ok := find("keymgr"); !ok {
		b.missing["keymgr"] = true
		return b.present(all), nil
	}
	k, err := b.newKnot(ctx, s, "kzonesign", "whole")
	if err != nil {
		return nil, err
	}
	signed := filepath.Join(k.dir, "out", s.apex+".zone")
	knot := sign("kzonesign", peer, signed, hi, "kzonesign", "-c", k.conf, "-o", filepath.Dir(signed), s.apex)
	return b.present(append(all, knot)), nil
}

// Names of this program's children that make nothing but signatures.
const (
	childFloor    = "floor"
	childFloorAll = "floor-all" // and verify each
)

// floorOf is the bare signing of as many signatures as the zone has, by a child of that name.
func (b *bench) floorOf(s *shape, name string, r role, child string) entrant {
	return entrant{
		name: name, role: r,
		run: func(ctx context.Context) (took, error) {
			t, err := b.run(ctx, b.self, "-child", child, "-n", strconv.Itoa(s.signatures))
			if err != nil {
				return t, err
			}
			t.peak = 0
			t.cpu *= float64(s.signatures) / float64(min(s.signatures, maxFloor)) // its seconds are so already
			t.seconds, err = strconv.ParseFloat(strings.TrimSpace(t.said), 64)
			return t, err
		},
		check: func(took) (int, error) { return s.signatures, nil },
	}
}

// signHosts is the section `host`: full signing with NSEC.
func (b *bench) signHosts(ctx context.Context) error {
	s, err := b.hosts(ctx, b.n)
	if err != nil {
		return err
	}
	b.describe("host", fmt.Sprintf("sign %s hosts: %s records, %s signatures, NSEC", group(b.n), group(s.records), group(s.signatures)))
	return b.sign(ctx, "host", s)
}

// signDelegations is the section `tld`: full signing with NSEC3 and opt-out.
func (b *bench) signDelegations(ctx context.Context) error {
	s, err := b.delegations(ctx, b.n)
	if err != nil {
		return err
	}
	b.describe("tld", fmt.Sprintf("sign %s delegations: %s records, %s signatures, NSEC3 opt-out", group(b.n), group(s.records), group(s.signatures)))
	return b.sign(ctx, "tld", s)
}

func (b *bench) sign(ctx context.Context, section string, s *shape) error {
	dir := b.path(section)
	defer os.RemoveAll(dir)
	t, err := b.treeOf(s, filepath.Join(dir, "sampled"), sampled)
	if err != nil {
		return err
	}
	all, err := b.treeOf(s, filepath.Join(dir, "all"), "verify-signatures = \"all\"\n")
	if err != nil {
		return err
	}
	entrants := []entrant{
		b.floorOf(s, "floor", floor, childFloor), b.floorOf(s, "floor, all", floorAll, childFloorAll),
		b.fullBuild("zonebuild", ours, s, t), b.fullBuild(nameAll, verifier, s, all),
	}
	peers, err := b.signers(ctx, s)
	if err != nil {
		return err
	}
	return b.compete(ctx, section, b.runs, append(entrants, peers...))
}

const nameAll = "zonebuild, all" // verify-signatures = "all"
