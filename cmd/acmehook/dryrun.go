package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/lines"
	"zonebuild/internal/validate"
)

func dryRunFlag() ucli.Flag {
	return &ucli.BoolFlag{Name: "dry-run", Usage: "order at the CA's staging directory what would be ordered, and keep nothing of it"}
}

// dryRun tries the whole way to a certificate for each line, at the directory that
// the CA has for trials: as an account that lives for as long, with a key that is
// never written. The challenges are really published, and removed. Neither keys nor
// lines nor state are touched, and nobody is kept waiting by a lock.
func (h *hook) dryRun(ctx context.Context, list []config.Line) error {
	var faults []error
	for _, l := range list {
		got, err := h.try(ctx, l)
		if err != nil {
			faults = append(faults, fmt.Errorf("line %s: %w", l.Name, err))
			continue
		}
		leaf := got.Chain[0]
		life := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour)
		fmt.Fprintf(h.out, "line %s: %s would be issued, valid for %s, by %s\n", l.Name, strings.Join(l.Names, " "), config.FormatDuration(life), diag.Escape(leaf.Issuer.String()))
	}
	return errors.Join(faults...)
}

func (h *hook) try(ctx context.Context, l config.Line) (*acmeclient.Certificate, error) {
	a := h.config.Account
	switch {
	case a == nil:
		return nil, cli.Rejectedf("acmehook.toml has no [account]")
	case a.Staging == "":
		return nil, cli.Rejectedf("no directory for trials is known of %s: staging = in [account]", a.Directory)
	}
	source, err := h.source()
	if err != nil {
		return nil, err
	}
	// With the account that there is, the CA itself is looked at too: its CAA
	// identities, and whether the records allow the account.
	if client, err := h.client(); err == nil {
		if err := h.preflight(client, source)(ctx, l); err != nil {
			return nil, fmt.Errorf("before an order: %w", err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	key, err := lines.NewKey("ecdsa-p256")
	if err != nil {
		return nil, err
	}
	config := h.clientConfig()
	config.Directory, config.Key, config.Store = a.Staging, key, &memory{records: map[string][]byte{}}
	client, err := acmeclient.New(config)
	if err != nil {
		return nil, err
	}
	eab, err := readEAB(a.EABKeyID, a.EABKeyFile)
	if err != nil {
		return nil, err
	}
	r := acmeclient.Registration{Contact: a.Contact, TermsAgreed: a.AgreeTerms, EAB: eab}
	if _, err := client.Register(ctx, r); err != nil {
		return nil, err
	}
	got, err := h.order(ctx, client, source, l)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return got, errors.Join(err, client.Deactivate(last))
}

// order takes a line's order through with a key that is thrown away, or with each of its
// certificate requests.
func (h *hook) order(ctx context.Context, client *acmeclient.Client, source validate.Source, l config.Line) (got *acmeclient.Certificate, err error) {
	requests := [][]byte{nil}
	if l.CSR != "" {
		if requests, err = lines.Requests(l); err != nil {
			return nil, err
		}
	}
	if err := h.preflight(client, source)(ctx, l); err != nil {
		return nil, fmt.Errorf("before an order at the directory for trials: %w", err)
	}
	for _, csr := range requests {
		r := acmeclient.Request{Name: l.Name, Identifiers: l.Names, CSR: csr, KeyRef: "dry-run", Profile: l.Profile}
		if csr == nil {
			if r.Key, err = lines.NewKey(l.KeyType); err != nil {
				return nil, err
			}
		}
		if got, err = client.Obtain(ctx, solver{h}, r); err != nil {
			return nil, err
		}
		if err := client.Forget(l.Name); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// memory is a Store that ends with the process.
type memory struct {
	mu      sync.Mutex
	records map[string][]byte
}

var _ acmeclient.Store = (*memory)(nil)

// Load gives what Save took.
func (m *memory) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.records[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(data), nil
}

// Save keeps a record.
func (m *memory) Save(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[name] = slices.Clone(data)
	return nil
}

// Remove forgets it.
func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, name)
	return nil
}
