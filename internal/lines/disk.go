package lines

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"zonebuild/internal/config"
	"zonebuild/internal/durable"
)

// Paths are the places of one line.
type Paths struct {
	Line string // LINES/NAME
	Keys string // KEYS/NAME

	Mode  fs.FileMode // of public files; 0 = 0644
	Group *int        // may read the private keys; nil: nobody but their owner
	Apart bool        // the operator named Keys, made it for this, and its mode is his
}

// PathsOf are the places of a line.
func PathsOf(h *config.Hook, name string) Paths {
	p := Paths{Line: filepath.Join(h.LinesDir, name), Keys: filepath.Join(h.KeysDir, name)}
	if l, ok := h.Line(name); ok {
		if p.Mode, p.Group = l.Mode, l.KeyGroup; l.Dir != "" {
			p.Line = l.Dir
		}
		if p.Apart = l.KeysDir != ""; p.Apart {
			p.Keys = l.KeysDir
		}
	}
	return p
}

func (p Paths) key(id string) string { return filepath.Join(p.Keys, id+".pem") }

func (p Paths) generation(n int) string {
	return filepath.Join(p.Line, "archive", fmt.Sprintf("%04d", n))
}

func (p Paths) combined(n int) string {
	return filepath.Join(p.Keys, fmt.Sprintf("combined-%04d.pem", n))
}

// Read gives what stands on the disk of a line.
func (p Paths) Read(l config.Line) (Files, error) {
	var f Files
	var err error
	if f.Live, err = p.live(); err != nil {
		return f, err
	}
	if l.CSR != "" {
		return f, p.readRequests(l, &f)
	}
	f.Next, f.NextFault, err = p.next()
	if f.Live != nil && f.Next.Hash() == f.Live.Hash() {
		f.Next = nil
	}
	return f, err
}

// readRequests finds the keys of certificate requests: the one whose certificate is
// live, and the other.
func (p Paths) readRequests(l config.Line, f *Files) error {
	published, _ := os.Readlink(filepath.Join(p.Line, "next"))
	for _, path := range []string{l.CSR, l.NextCSR} {
		k, err := requested(path)
		switch {
		case err != nil:
			return err
		case k == nil:
		case f.Live != nil && k.Hash() == f.Live.Hash():
			f.Live.Key = k
		case f.Next == nil && f.Wanted == nil:
			if published == filepath.Join("archive", "key-"+k.ID) {
				f.Next = k
			} else {
				f.Wanted = k
			}
		}
	}
	if f.Live == nil && f.Next == nil && f.Wanted == nil {
		return fmt.Errorf("read the certificate request %s: %w", l.CSR, fs.ErrNotExist)
	}
	return nil
}

// next is the key that the link next names; nil without link. Fault says why its file
// cannot be used.
func (p Paths) next() (k *Key, fault string, err error) {
	target, err := os.Readlink(filepath.Join(p.Line, "next"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the next key: %w", err)
	}
	id, ok := strings.CutPrefix(filepath.Base(target), "key-")
	if !ok || strings.HasPrefix(id, "csr-") {
		return nil, "", nil // of a time when there were certificate requests
	}
	k, _, err = p.keyOf(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", nil // a lost key cannot become live
	case err != nil:
		return nil, err.Error(), nil
	}
	return k, "", nil
}

// live reads the generation that the link live names; nil without link. A key that
// cannot be used, and a chain whose certificate is still in cert.pem, are faults of the
// generation and not errors: there is more to a line than one file.
func (p Paths) live() (*Generation, error) {
	target, err := os.Readlink(filepath.Join(p.Line, "live"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the live certificate: %w", err)
	}
	n, err := strconv.Atoi(filepath.Base(target))
	if err != nil || n < 1 {
		return nil, fmt.Errorf("read the live certificate: %s leads to %q, which is no generation", filepath.Join(p.Line, "live"), target)
	}
	g := &Generation{Number: n}
	if g.Chain, err = readChain(filepath.Join(p.generation(n), "fullchain.pem")); err != nil {
		g.Damaged = err.Error()
		if g.Chain, _ = readChain(filepath.Join(p.generation(n), "cert.pem")); len(g.Chain) != 1 {
			return nil, fmt.Errorf("read the live certificate: %w (put the link %s on another generation, or remove it to begin anew)", err, filepath.Join(p.Line, "live"))
		}
	}
	g.Combined = leadsTo(filepath.Join(p.generation(n), "combined.pem"), p.combined(n))
	link, err := os.Readlink(filepath.Join(p.generation(n), "privkey.pem"))
	if err == nil {
		k, _, err := p.keyOf(strings.TrimSuffix(filepath.Base(link), ".pem"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			g.KeyFault = err.Error()
		case k.Hash() != g.Hash():
			g.KeyFault = fmt.Sprintf("read the key %s: it is not that of the live certificate", p.key(k.ID))
		default:
			g.Key, g.Astray = k, !leadsTo(filepath.Join(p.generation(n), "privkey.pem"), p.key(k.ID))
		}
	}
	return g, nil
}

func readChain(path string) ([]*x509.Certificate, error) {
	data, _, err := durable.ReadFile(path, maxPEM)
	if err != nil {
		return nil, err
	}
	chain, err := ParseChain(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return chain, nil
}

// ParseChain reads certificates in PEM; there is at least one.
func ParseChain(data []byte) (chain []*x509.Certificate, err error) {
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return chain, nil
}

// publish makes a key the next one: its public half gets the name that the map of
// TLSA records has.
func (p Paths) publish(k *Key) error {
	name := "key-" + k.ID
	dir := filepath.Join(p.Line, "archive", name)
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.SPKI})
	if err := durable.WriteFile(filepath.Join(dir, "pubkey.pem"), text, durable.Options{Mode: p.Mode}); err != nil {
		return err
	}
	return durable.Link(filepath.Join("archive", name), filepath.Join(p.Line, "next"))
}

// install writes a new generation and makes it live: all files first, under another
// name, then the generation's name, then the one link. What a number names is whole.
func (p Paths) install(l config.Line, chain []*x509.Certificate, k *Key, number int) error {
	dir := filepath.Join(p.Line, "archive", ".new")
	if err := os.RemoveAll(dir); err != nil { // of a process that was killed, or a disk that was full
		return err
	}
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	texts := make([][]byte, len(chain))
	for i, c := range chain {
		texts[i] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	full := bytes.Join(texts, nil)
	for name, text := range map[string][]byte{"cert.pem": texts[0], "chain.pem": bytes.Join(texts[1:], nil), "fullchain.pem": full} {
		if err := durable.WriteFile(filepath.Join(dir, name), text, durable.Options{Mode: p.Mode}); err != nil {
			return err
		}
	}
	if k.CSR == nil {
		if err := p.linkKey(dir, "privkey.pem", p.key(k.ID)); err != nil {
			return err
		}
	}
	if l.Combined {
		if err := p.addCombined(dir, number, l, k, full); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(p.generation(number)); err != nil { // half of one, as an older version left it
		return err
	}
	if err := durable.Rename(dir, p.generation(number)); err != nil {
		return err
	}
	return durable.Link(filepath.Join("archive", filepath.Base(p.generation(number))), filepath.Join(p.Line, "live"))
}

// leadsTo reports whether a link leads to a file, by whatever way.
func leadsTo(link, path string) bool {
	there, err := os.Stat(link)
	here, fault := os.Stat(path)
	return err == nil && fault == nil && os.SameFile(there, here)
}

// linkKey puts a link to a file with a secret into a generation.
func (p Paths) linkKey(dir, name, path string) error {
	path, err := filepath.Abs(path)
	if err == nil {
		err = durable.Link(path, filepath.Join(dir, name))
	}
	return err
}

// addCombined puts a combined.pem into the directory of a generation.
func (p Paths) addCombined(dir string, number int, l config.Line, k *Key, full []byte) error {
	path := p.combined(number)
	if err := p.combine(path, l, k, full); err != nil {
		return err
	}
	return p.linkKey(dir, "combined.pem", path)
}

// combine writes private key, chain and DH parameters into one file, as some
// services want it.
func (p Paths) combine(path string, l config.Line, k *Key, full []byte) error {
	key, _, err := durable.ReadFile(p.key(k.ID), maxPEM)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	text := append(bytes.Clone(key), full...)
	if l.DHParams != "" {
		dh, _, err := durable.ReadFile(l.DHParams, maxPEM)
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		text = append(text, dh...)
	}
	return durable.WriteFile(path, text, p.secret())
}

// fresh is the number of the next generation: above all that are there, as the
// operator may have gone back to an old one.
func (p Paths) fresh(f Files) (int, error) {
	all, _, err := p.numbers()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	last := 0
	if f.Live != nil {
		last = f.Live.Number
	}
	if len(all) > 0 {
		last = max(last, all[len(all)-1])
	}
	return last + 1, nil
}

// numbers lists the generations, oldest first, and apart from them those of which
// there is but a part: they count for nothing.
func (p Paths) numbers() (whole, half []int, err error) {
	entries, err := os.ReadDir(filepath.Join(p.Line, "archive"))
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n < 1 || !e.IsDir() {
			continue
		}
		if _, err := os.Stat(filepath.Join(p.generation(n), "fullchain.pem")); err == nil {
			whole = append(whole, n)
		} else {
			half = append(half, n)
		}
	}
	slices.Sort(whole)
	return whole, half, nil
}

// prune removes the generations before the live one but the newest `keep` of them, and
// private keys that are neither in a generation that stays, nor the next one.
func (p Paths) prune(live, keep int, next *Key) error {
	all, half, err := p.numbers()
	if err != nil {
		return fmt.Errorf("remove old generations: %w", err)
	}
	used := map[string]bool{}
	if next != nil {
		used[next.ID] = true
	}
	if link, err := os.Readlink(filepath.Join(p.Line, "next")); err == nil { // also one that cannot be used now
		used[strings.TrimPrefix(filepath.Base(link), "key-")] = true
	}
	old := slices.DeleteFunc(slices.Clone(all), func(n int) bool { return n >= live })
	old = append(old[:max(0, len(old)-keep)], half...)
	for _, n := range append(all, half...) {
		dir := p.generation(n)
		if !slices.Contains(old, n) {
			if link, err := os.Readlink(filepath.Join(dir, "privkey.pem")); err == nil {
				used[strings.TrimSuffix(filepath.Base(link), ".pem")] = true
			}
			continue
		}
		if err := durable.Remove(p.combined(n)); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove an old generation: %w", err)
		}
	}
	ids, err := p.listKeys()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if used[id] {
			continue
		}
		if err := p.drop(id); err != nil {
			return fmt.Errorf("remove an old key: %w", err)
		}
	}
	return nil
}

// drop removes a key, and its public half from where it was published.
func (p Paths) drop(id string) error {
	if err := durable.Remove(p.key(id)); err != nil {
		return err
	}
	err := os.RemoveAll(filepath.Join(p.Line, "archive", "key-"+id))
	if errors.Is(err, syscall.ENOTDIR) {
		return nil // there is no such directory
	}
	return err
}
