package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// verify is the section `verify`: all verifiers read one file that our signer
// wrote. Before that each must have refused a small one with a damaged signature:
// one that does not look is fast.
func (b *bench) verify(ctx context.Context) error {
	defer os.RemoveAll(b.path("host"))
	damaged := b.path("damaged")
	defer os.Remove(damaged)
	small, t, err := b.signedHosts(ctx, "small", 100)
	if err != nil {
		return err
	}
	if err := damage(t.signed(small.apex), damaged); err != nil {
		return err
	}
	s, t, err := b.signedHosts(ctx, "tree", b.n)
	if err != nil {
		return err
	}
	b.describe("verify", fmt.Sprintf("verify the signed zone of %s hosts: %s signatures", group(b.n), group(s.signatures)))
	with := func(name string, r role, program string, args ...string) entrant {
		path, _ := find(program)
		return entrant{
			name: name, role: r, program: program,
			prepare: func() error {
				if _, err := b.run(ctx, path, append(args, damaged)...); err == nil {
					return errors.New("it accepts a damaged signature")
				}
				return ctx.Err()
			},
			run: func(ctx context.Context) (took, error) {
				return b.run(ctx, path, append(args, t.signed(s.apex))...)
			},
			check: func(took) (int, error) { return s.signatures, nil },
		}
	}
	return b.compete(ctx, "verify", b.runs, b.present([]entrant{
		with("zonebuild verify", ours, b.zonebuild, "verify", "--zone", s.apex),
		with("dnssec-verify", peer, "dnssec-verify", "-q", "-o", s.apex),
		with("kzonecheck", peer, "kzonecheck", "-d", "on", "-o", s.apex),
		with("ldns-verify-zone", peer, "ldns-verify-zone"),
	}))
}

// signedHosts makes the zone of n hosts in a tree, and signs it.
func (b *bench) signedHosts(ctx context.Context, name string, n int) (*shape, tree, error) {
	if err := os.RemoveAll(b.path("host", "keytree")); err != nil {
		return nil, tree{}, err
	}
	s, err := b.hosts(ctx, n)
	if err != nil {
		return nil, tree{}, err
	}
	t, err := b.treeOf(s, b.path("host", name), sampled)
	if err != nil {
		return nil, t, err
	}
	if _, err := b.run(ctx, b.zonebuild, "-C", t.dir, "build", "--new-zone"); err != nil {
		return nil, t, err
	}
	_, err = between(t.signed(s.apex), s.signatures, s.signatures)(took{})
	return s, t, err
}

// damage copies a small signed zone with one character of one signature of an A
// RRset changed. The line that tells the file's digest is left out, so that it
// is the signature that a verifier has to find.
func damage(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	_, text, _ = bytes.Cut(text, []byte("\n"))
	i := bytes.LastIndex(text, []byte("\tRRSIG\tA "))
	if i < 0 {
		return fmt.Errorf("no signature in %s", filepath.Base(from))
	}
	end := i + bytes.IndexByte(text[i+1:], '\n') + 1
	at := end - 20 // in the middle of the base64
	if text[at] == 'A' {
		text[at] = 'B'
	} else {
		text[at] = 'A'
	}
	return create(to, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}
