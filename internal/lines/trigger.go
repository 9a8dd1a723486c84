package lines

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"zonebuild/internal/config"
	"zonebuild/internal/durable"
)

// Trigger makes services read their certificate when they serve another one than
// their files have, and only then. It needs no account and no CA.
type Trigger struct {
	Config   *config.Hook
	Observer Observer
	Hook     func(ctx context.Context, h Hook) error
	Now      func() time.Time
	Again    time.Duration // between two looks at a service that was told; 0 = 500 ms
}

// Pulled is what became of a service.
type Pulled struct {
	Service string `json:"service"`
	Did     string `json:"did"`             // "nothing", "reload"
	Why     string `json:"why"`             // what was seen
	Error   string `json:"error,omitempty"` // it may not serve its certificate
}

// Loaded is what a service was last told to read, and what came of it.
type Loaded struct {
	Files string    `json:"files"` // hash of their contents
	At    time.Time `json:"at"`
	Vain  int       `json:"vain,omitempty"` // times in a row that it was told of them and did not serve them
}

// Pull looks at one service and tells it what is new. One without a reload command
// is only looked at.
func (t *Trigger) Pull(ctx context.Context, s config.Service) Pulled {
	p := Pulled{Service: s.Name, Did: "nothing"}
	files, err := t.read(ctx, s)
	if err == nil && s.ProbeOff {
		err = t.byFiles(ctx, s, files, &p)
	} else if err == nil {
		err = t.bySight(ctx, s, files, &p)
	}
	if err != nil {
		p.Error = err.Error()
	}
	return p
}

// material is what the files of a service hold.
type material struct {
	want   [][]*x509.Certificate // chains that it should serve, the leaf first
	leaves [][]byte              // DER, of the other files too
	digest string
	newest time.Time
}

// fits says what is wrong with what an address shows; empty: nothing. Each certificate
// is wanted, as far as it can be seen; a single one may also be one of the other files'.
func (m material) fits(v Shown) string {
	ours := len(v.Chains) > 0 && len(v.Chains[0]) > 0 && slices.ContainsFunc(m.leaves, func(leaf []byte) bool { return bytes.Equal(leaf, v.Chains[0][0]) })
	for _, chain := range m.want {
		shown := v.find(chain[0].Raw)
		switch {
		case shown == nil && ours && (len(m.want) == 1 || v.One):
		case shown == nil:
			return "serves another certificate than its files have"
		case lacks(shown, chain[1:]):
			return "serves its certificate without the others of its file's chain"
		}
	}
	return ""
}

// lacks reports whether a certificate is not shown that clients may need: all but a root.
func lacks(shown [][]byte, wanted []*x509.Certificate) bool {
	return slices.ContainsFunc(wanted, func(c *x509.Certificate) bool {
		root := bytes.Equal(c.RawIssuer, c.RawSubject)
		return !root && !slices.ContainsFunc(shown, func(der []byte) bool { return bytes.Equal(der, c.Raw) })
	})
}

// certFiles are the files of what a service should serve: its own, or those of all lines
// that name it.
func (t *Trigger) certFiles(s config.Service) (files []string, err error) {
	if s.Cert != "" {
		return []string{s.Cert}, nil
	}
	for _, l := range t.Config.Lines {
		if slices.Contains(l.Services, s.Name) {
			files = append(files, filepath.Join(PathsOf(t.Config, l.Name).Line, "live", "fullchain.pem"))
		}
	}
	if len(files) == 0 {
		return nil, errors.New("which certificate it should serve is not said: certificate, or services of a line")
	}
	return files, nil
}

// listed are the files of a service: those of the configuration, and those that its
// command prints.
func (t *Trigger) listed(ctx context.Context, s config.Service) ([]string, error) {
	if len(s.Lists) == 0 {
		return s.Files, nil
	}
	h := t.command(s)
	h.Argv, h.Output, h.Lists = s.Lists, filepath.Join(t.Config.StateDir, "service-"+s.Name+".files"), true
	if err := t.Hook(ctx, h); err != nil {
		return nil, err
	}
	data, _, err := durable.ReadFile(h.Output, maxSaid)
	if err != nil {
		return nil, err
	}
	files := slices.Clone(s.Files)
	for line := range strings.Lines(string(data)) {
		switch path := strings.TrimSuffix(line, "\n"); {
		case path == "":
		case !filepath.IsAbs(path) || strings.ContainsFunc(path, unicode.IsControl):
			return nil, fmt.Errorf("files-from: %q is no absolute path", path)
		case len(files) == maxFiles:
			return nil, fmt.Errorf("files-from: more than %d files", maxFiles)
		default:
			files = append(files, path)
		}
	}
	return files, nil
}

// maxFiles bounds the files of a service.
const maxFiles = 1000

func (t *Trigger) read(ctx context.Context, s config.Service) (material, error) {
	var m material
	certs, err := t.certFiles(s)
	if err != nil {
		return m, err
	}
	files, err := t.listed(ctx, s)
	if err != nil {
		return m, err
	}
	sum := sha256.New()
	for i, path := range append(slices.Clone(certs), files...) {
		data, info, err := durable.ReadFile(path, maxPEM)
		if err != nil {
			return m, err
		}
		chain, err := ParseChain(data)
		switch {
		case err == nil:
			m.leaves = append(m.leaves, chain[0].Raw)
			if i < len(certs) {
				m.want = append(m.want, chain)
			}
		case i < len(certs):
			return m, fmt.Errorf("read %s: %w", path, err)
		}
		one := sha256.Sum256(data)
		sum.Write(one[:])
		for _, at := range []time.Time{info.ModTime(), changed(real(path)), linked(path, maxLinks)} {
			if at.After(m.newest) {
				m.newest = at
			}
		}
	}
	m.digest = hex.EncodeToString(sum.Sum(nil))
	return m, nil
}

// bySight compares what every address serves with the files. Only another certificate
// is a reason to tell the service: what cannot be reached is not served by a reload. One
// that was told in vain is told again after 1, 10 and 100 minutes, then daily.
func (t *Trigger) bySight(ctx context.Context, s config.Service, m material, p *Pulled) error {
	wrong, silent, err := t.wrong(ctx, s, m)
	switch {
	case err != nil:
		return err
	case wrong == nil && silent == nil:
		p.Why = "it serves its certificate"
		return t.forget(s)
	case wrong == nil:
		p.Why = silent.Error()
		return silent
	}
	p.Why = wrong.Error()
	if len(s.Reload) == 0 {
		return wrong
	}
	last, err := t.last(s)
	if err != nil {
		return err
	}
	if last.Files != m.digest {
		last = Loaded{Files: m.digest}
	}
	if err := t.patient(last, last); err != nil {
		return fmt.Errorf("%w; %w", wrong, err)
	}
	last.Vain++
	if err := t.note(s, last); err != nil { // before it is told, or it would be told at each call
		return fmt.Errorf("%w; %w", wrong, err)
	}
	p.Did = "reload"
	if err := t.reload(ctx, s, m); err != nil {
		return err
	}
	return t.forget(s)
}

// forget removes what a service was told, if there is such a thing: where nothing can be
// written there is none.
func (t *Trigger) forget(s config.Service) error {
	if _, err := os.Lstat(t.path(s)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return durable.Remove(t.path(s))
}

// reload tells a service, and waits until it serves what its files have.
func (t *Trigger) reload(ctx context.Context, s config.Service, m material) error {
	if err := t.Hook(ctx, t.command(s)); err != nil {
		return err
	}
	over, cancel := context.WithTimeout(ctx, s.Timeout) // of the wait, not of a look
	defer cancel()
	pause := t.Again
	if pause == 0 {
		pause = 500 * time.Millisecond
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		wrong, silent, err := t.wrong(ctx, s, m)
		if err != nil {
			return err
		}
		if wrong == nil {
			wrong = silent // for a moment, or for longer
		}
		if wrong == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-over.Done():
			return fmt.Errorf("after %s: %w", s.Reload[0], wrong)
		}
	}
}

// wrong says at which address something else is served, and which cannot be reached;
// nil if none.
func (t *Trigger) wrong(ctx context.Context, s config.Service, m material) (wrong, silent, err error) {
	var want [][]byte
	for _, chain := range m.want {
		want = append(want, chain[0].Raw)
	}
	shown, err := t.Observer.Probe(ctx, s, want)
	if err != nil {
		return nil, nil, err
	}
	if shown, _, err = reachable(s, shown); err != nil {
		return nil, err, nil
	}
	for _, v := range shown {
		if v.Err != nil {
			silent = fmt.Errorf("%s: %w", v.Addr, v.Err)
		} else if why := m.fits(v); why != "" {
			wrong = fmt.Errorf("%s %s", v.Addr, why)
		}
	}
	return wrong, silent, nil
}

func (t *Trigger) path(s config.Service) string {
	return filepath.Join(t.Config.StateDir, "service-"+s.Name+".json")
}

// last is what the service was last told. What cannot be read is as good as nothing:
// it is told once more.
func (t *Trigger) last(s config.Service) (Loaded, error) {
	var last Loaded
	data, _, err := durable.ReadFile(t.path(s), maxPEM)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return last, nil
	case err != nil:
		return last, err
	}
	if json.Unmarshal(data, &last) != nil {
		return Loaded{}, nil
	}
	return last, nil
}

// patient wants a service that was told in vain not to be told again too soon.
func (t *Trigger) patient(last, now Loaded) error {
	if at := believed(last.At.Add(patience(now.Vain-1)), t.Now()); now.Vain > 0 && at.After(t.Now()) {
		return fmt.Errorf("it was told %d times in vain, and is told again at %s", now.Vain, at.UTC().Format(time.RFC3339))
	}
	return nil
}

func (t *Trigger) note(s config.Service, l Loaded) error {
	l.At = t.Now().UTC().Truncate(time.Second)
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(t.path(s), append(data, '\n'), durable.Options{Mode: 0o600}); err != nil {
		return fmt.Errorf("note that the service is told (state-dir in acmehook.toml): %w", err)
	}
	return nil
}

// Unwritable reports whether an error says that nothing may be written somewhere, as on
// the host of a service whose files come from elsewhere.
func Unwritable(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

func (t *Trigger) command(s config.Service) Hook {
	return Hook{
		Argv: s.Reload, Dir: "/", Timeout: s.Timeout, Output: filepath.Join(t.Config.StateDir, "service-"+s.Name+".out"),
		Env: []string{plainPath, "ACMEHOOK_SERVICE=" + s.Name},
	}
}
