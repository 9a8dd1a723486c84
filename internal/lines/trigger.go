package lines

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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

// Loaded is what a service that cannot be asked was last told to read.
type Loaded struct {
	Files string    `json:"files"` // hash of their contents
	At    time.Time `json:"at"`
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
	leaves [][]byte // DER
	digest string
	newest time.Time
}

// certFile is the file that a service should serve.
func (t *Trigger) certFile(s config.Service) (string, error) {
	if s.Cert != "" {
		return s.Cert, nil
	}
	for _, l := range t.Config.Lines {
		if slices.Contains(l.Services, s.Name) {
			return filepath.Join(PathsOf(t.Config, l.Name).Line, "live", "fullchain.pem"), nil
		}
	}
	return "", errors.New("which certificate it should serve is not said: certificate, or services of a line")
}

// Bounds of what a program lists.
const (
	maxListed = 64 << 10 // octets
	maxFiles  = 256
)

// listing keeps what a program prints, and fails it when that is too much.
type listing struct{ text bytes.Buffer }

func (l *listing) Write(b []byte) (int, error) {
	if l.text.Len()+len(b) > maxListed {
		return 0, errors.New("it prints too much")
	}
	return l.text.Write(b)
}

// files are those that a service reads: the certificate first, then what is in the
// configuration, then what its own program knows.
func (t *Trigger) files(ctx context.Context, s config.Service) ([]string, error) {
	first, err := t.certFile(s)
	if err != nil {
		return nil, err
	}
	all := append([]string{first}, s.Files...)
	if len(s.FilesOf) == 0 {
		return all, nil
	}
	var out listing
	list := t.command(s)
	list.Argv, list.Stdout = s.FilesOf, &out
	if err := t.Hook(ctx, list); err != nil {
		return nil, fmt.Errorf("list its files: %w", err)
	}
	for path := range strings.Lines(out.text.String()) {
		path = strings.TrimSpace(path)
		switch {
		case path == "":
			continue
		case !filepath.IsAbs(path):
			return nil, fmt.Errorf("list its files: %s prints %q, which is no whole path", s.FilesOf[0], path)
		case len(all) == maxFiles:
			return nil, fmt.Errorf("list its files: %s prints more than %d", s.FilesOf[0], maxFiles)
		}
		all = append(all, path)
	}
	return all, nil
}

func (t *Trigger) read(ctx context.Context, s config.Service) (material, error) {
	var m material
	paths, err := t.files(ctx, s)
	if err != nil {
		return m, err
	}
	sum := sha256.New()
	for i, path := range paths {
		data, info, err := durable.ReadFile(path, maxPEM)
		if err != nil {
			return m, err
		}
		chain, err := ParseChain(data)
		switch {
		case err == nil:
			m.leaves = append(m.leaves, chain[0].Raw)
		case i == 0:
			return m, fmt.Errorf("read %s: %w", path, err)
		}
		one := sha256.Sum256(data)
		sum.Write(one[:])
		if at := info.ModTime(); at.After(m.newest) {
			m.newest = at
		}
	}
	m.digest = hex.EncodeToString(sum.Sum(nil))
	return m, nil
}

// bySight compares what every address serves with the files.
func (t *Trigger) bySight(ctx context.Context, s config.Service, m material, p *Pulled) error {
	wrong, err := t.wrong(ctx, s, m)
	if err != nil {
		return err
	}
	if wrong == nil {
		p.Why = "it serves its certificate"
		return nil
	}
	p.Why = wrong.Error()
	if len(s.Reload) == 0 {
		return wrong
	}
	p.Did = "reload"
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
		seen, err := t.wrong(ctx, s, m)
		if err != nil || seen == nil {
			return err
		}
		wrong = seen
		select {
		case <-tick.C:
		case <-over.Done():
			return fmt.Errorf("after %s: %w", s.Reload[0], wrong)
		}
	}
}

// wrong says at which address something else is served; nil if nowhere.
func (t *Trigger) wrong(ctx context.Context, s config.Service, m material) (wrong, err error) {
	shown, err := t.Observer.Probe(ctx, s)
	if err != nil {
		return nil, err
	}
	if len(shown) == 0 {
		return nil, errors.New("it has no address")
	}
	for _, v := range shown {
		switch {
		case v.Err != nil:
			return fmt.Errorf("%s: %w", v.Addr, v.Err), nil
		case !slices.ContainsFunc(m.leaves, func(leaf []byte) bool { return bytes.Equal(leaf, v.Leaf) }):
			return fmt.Errorf("%s serves another certificate than its files have", v.Addr), nil
		}
	}
	return nil, nil
}

// byFiles compares the files with those that the service was last told of, or, if it
// never was, their time with that of its start.
func (t *Trigger) byFiles(ctx context.Context, s config.Service, m material, p *Pulled) error {
	path := filepath.Join(t.Config.StateDir, "service-"+s.Name+".json")
	var last Loaded
	data, _, err := durable.ReadFile(path, maxPEM)
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &last); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	switch {
	case last.Files == m.digest:
		p.Why = "its files are those that it was told of"
		return nil
	case last.Files == "" && s.PidFile != "":
		info, err := os.Stat(s.PidFile)
		if err != nil {
			return fmt.Errorf("when it was started: %w", err)
		}
		if info.ModTime().After(m.newest) {
			p.Why = "it was started after its files changed"
			return t.note(path, m)
		}
		p.Why = "its files changed after it was started"
	default:
		p.Why = "its files have changed"
	}
	if len(s.Reload) == 0 {
		return errors.New(p.Why)
	}
	p.Did = "reload"
	if err := t.Hook(ctx, t.command(s)); err != nil {
		return err
	}
	return t.note(path, m)
}

func (t *Trigger) note(path string, m material) error {
	data, err := json.Marshal(Loaded{Files: m.digest, At: t.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'), durable.Options{Mode: 0o600})
}

func (t *Trigger) command(s config.Service) Hook {
	return Hook{
		Argv: s.Reload, Dir: "/", Timeout: s.Timeout,
		Env: []string{plainPath, "ACMEHOOK_SERVICE=" + s.Name},
	}
}
