package build

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/cli"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

//go:embed template
var templates embed.FS

// Init makes a commented tree with one zone in dir, which must be absent or
// empty, and its keys. That the zone has no DS at its parent yet is recorded,
// so the tree builds at once. It returns the DS to send to the parent.
// What a failure leaves half made is removed again.
func Init(dir string, apex domain.Name, now time.Time) (ds *dns.DS, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("init %s: the directory is not empty", dir)
	}
	existed := err == nil
	defer func() {
		if err != nil {
			err = errors.Join(err, empty(dir, existed))
		}
	}()
	for _, sub := range []string{"", "soa", "primary", "signed", "unsigned", "state"} {
		if err := durable.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if err := durable.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return nil, err
	}
	for from, to := range map[string]string{
		"zonebuild.toml": "zonebuild.toml",
		"soa":            "soa/" + apex.FileName(),
		"primary":        "primary/" + apex.FileName(),
	} {
		text, err := templates.ReadFile("template/" + from)
		if err != nil {
			return nil, err
		}
		text = []byte(strings.ReplaceAll(string(text), "{{.Zone}}", strings.TrimSuffix(apex.String(), ".")))
		if err := durable.WriteFile(filepath.Join(dir, to), text, durable.Options{Mode: 0o644}); err != nil {
			return nil, err
		}
	}
	t, faults, err := Open(dir)
	if err != nil {
		return nil, err
	}
	if faults.HasErrors() {
		return nil, errors.New(faults[0].String())
	}
	defer t.Close()
	keys, err := t.MakeKeys(apex, KeyOptions{Now: now})
	if err != nil {
		return nil, err
	}
	if err := t.saveState(apex, &State{NewZone: true}); err != nil {
		return nil, err
	}
	for i := range keys {
		if keys[i].KSK {
			return dnssec.DS(&keys[i], dns.SHA256), nil
		}
	}
	return nil, errors.New("no key signing key was made")
}

// empty clears a directory that was empty before, or removes one that was not there.
func empty(dir string, existed bool) error {
	if !existed {
		return os.RemoveAll(dir)
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// KeyOptions of MakeKeys.
type KeyOptions struct {
	Algorithm uint8 // 0 = the policy's
	CSK       bool  // one key for both roles
	Now       time.Time
}

// LockKeys keeps other programs, of this tree or of one that shares its keys/,
// from making keys until unlock, and lists what is there now.
func (t *Tree) LockKeys(ctx context.Context) (unlock func(), err error) {
	if err := durable.MkdirAll(t.Config.Paths.Keys, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	lock, err := durable.LockWait(ctx, filepath.Join(t.Config.Paths.Keys, "zonebuild.lock"))
	if err != nil {
		return nil, fmt.Errorf("lock the keys: %w", err)
	}
	if err := t.refresh(); err != nil {
		lock.Unlock()
		return nil, err
	}
	return func() { lock.Unlock() }, nil
}

// MakeKeys generates the keys that a zone without any needs. Where others may
// make keys too, the caller holds the lock of LockKeys. Errors: the zone has
// keys, or was published signed: its keys exist, if not here.
func (t *Tree) MakeKeys(apex domain.Name, o KeyOptions) ([]dnssec.Key, error) {
	z := t.Config.Find(apex)
	if z == nil {
		return nil, cli.Usagef("zone %s is not in the tree", apex)
	}
	if len(t.keys.Files(apex)) > 0 {
		return nil, fmt.Errorf("make keys for %s: it has keys", apex)
	}
	state, err := t.loadState(apex)
	if err != nil {
		return nil, err
	}
	if prev, err := t.Previous(apex); state.Signed || err == nil && len(prev.DNSKEYs()) > 0 {
		return nil, fmt.Errorf("make keys for %s: it was published signed, put its key files back", apex)
	}
	g := dnssec.GenerateOptions{Algorithm: o.Algorithm, Now: o.Now}
	if g.Algorithm == 0 {
		g.Algorithm = z.Policy.Algorithm
	}
	roles := []dnssec.Role{dnssec.KSK, dnssec.ZSK}
	if o.CSK {
		roles = []dnssec.Role{dnssec.CSK}
	}
	if err := durable.MkdirAll(t.Config.Paths.Keys, 0o700); err != nil {
		return nil, err
	}
	var out []dnssec.Key
	for _, g.Role = range roles {
		k, err := t.keys.Generate(apex, g)
		if err != nil {
			return out, err
		}
		out = append(out, k)
	}
	return out, nil
}

// MissingKeys are the zones that are to be signed and have no key.
func (t *Tree) MissingKeys() []domain.Name {
	var out []domain.Name
	for i := range t.Config.Zones {
		z := &t.Config.Zones[i]
		if z.Policy.Signed() && len(t.keys.Files(z.Name)) == 0 {
			out = append(out, z.Name)
		}
	}
	return out
}

// DS are the DS records of a zone's key signing keys.
func (t *Tree) DS(apex domain.Name, digestType uint8) ([]*dns.DS, error) {
	keys, faults := dnssec.LoadKeys(t.keys, apex, dnssec.LoadOptions{})
	if faults.HasErrors() {
		return nil, errors.New(faults[0].String())
	}
	var out []*dns.DS
	for i := range keys {
		if keys[i].Published && keys[i].SignsKeys {
			out = append(out, dnssec.DS(&keys[i], digestType))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("ds %s: no key signs its DNSKEY set", apex)
	}
	return out, nil
}
