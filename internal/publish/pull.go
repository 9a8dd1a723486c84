package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// PullOptions say what is pulled to where.
type PullOptions struct {
	From   string    // the builder's signed/, read-only and not trusted
	To     string    // where the name server reads its zone files
	Now    time.Time // for the verification; zero: the clock's
	Server Server    // the name server of this host

	// Zones that may become unsigned though the present file is signed: said by
	// hand, once their DS is gone.
	Unsigned []domain.Name

	Timeout time.Duration // until a serial must be seen served
	Zones   []domain.Name // none = all
}

// Actions of a Pulled.
const (
	PullUnchanged = "unchanged"
	PullPublished = "published"
	PullConfirmed = "confirmed" // an earlier publish was seen served at last
	PullRestored  = "restored"  // the file was lost or damaged; the last good one is back
	PullRejected  = "rejected"  // the offered file is not right; the old one stays
	PullFailed    = "failed"
	PullPutBack   = "put-back" // the server could not load it; the last good one is served again
	PullGone      = "gone"     // no longer offered; what was pulled stays
)

// Pulled is what became of one zone.
type Pulled struct {
	Zone      domain.Name `json:"zone"`
	Action    string      `json:"action"`
	Serial    uint32      `json:"serial,omitempty"`   // of the file in To
	Previous  uint32      `json:"previous,omitempty"` // serial that was replaced
	Confirmed bool        `json:"confirmed"`
	Restored  bool        `json:"restored,omitempty"` // the file was lost or damaged, and the last good one is back
	Error     string      `json:"error,omitempty"`
	Code      int         `json:"exit"`
	News      bool        `json:"-"` // Error is not what the last run said
}

const (
	maxZoneFile = 1 << 31
	pullWait    = 60 * time.Second // for another pull into the same directory
	pullAsk     = 3 * time.Second  // for one look at what is served
)

// Pull is the name server's end of publishing without a connection: it takes
// over each zone file of From that differs from To's, once it is verified, its
// serial is ahead and the host's checker accepts it; then it has the server
// reload, waits for the serial, and puts the last good file back where the
// server proves that it could not load the new one. Zones are independent. A
// zone that From no longer has is left alone. An error is one of all zones.
func Pull(ctx context.Context, o PullOptions) ([]Pulled, error) {
	names, err := offered(o.From)
	if err != nil {
		return nil, fmt.Errorf("read zones to pull: %w", err)
	}
	p := &puller{PullOptions: o, ctx: ctx, pullState: pullState{o.To}}
	if err := p.makeDirs(); err != nil {
		return nil, fmt.Errorf("pull into %s: %w", o.To, err)
	}
	wait, cancel := context.WithTimeout(ctx, pullWait)
	defer cancel()
	lock, err := durable.LockWait(wait, p.lockPath())
	if err != nil {
		return nil, fmt.Errorf("pull into %s: %w", o.To, err)
	}
	defer lock.Unlock()

	pulledBefore, err := p.known()
	if err != nil {
		return nil, fmt.Errorf("pull into %s: %w", o.To, err)
	}
	if len(names) == 0 && len(pulledBefore) > 0 {
		return nil, fmt.Errorf("read zones to pull: there are none in %s: is it mounted?", o.From)
	}
	var pulls []*pull
	for _, apex := range p.wanted(names, pulledBefore) {
		if ctx.Err() != nil {
			return results(pulls), ctx.Err()
		}
		z := &pull{Pulled: Pulled{Zone: apex}}
		pulls = append(pulls, z)
		if !slices.Contains(names, apex) {
			z.gone(slices.Contains(pulledBefore, apex))
			continue
		}
		p.take(z)
	}
	p.announce(pulls)
	for _, z := range pulls {
		z.News = p.news(z.Zone, z.Error)
	}
	return results(pulls), ctx.Err()
}

// offered are the zones that a directory has files of, in order. Any other
// name in it is none of our business.
func offered(dir string) ([]domain.Name, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []domain.Name
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), "~") || e.IsDir() {
			continue
		}
		if apex, err := domain.FromFileName(e.Name()); err == nil {
			out = append(out, apex)
		}
	}
	slices.SortFunc(out, domain.Name.Compare)
	return out, nil
}

// puller is one run of Pull.
type puller struct {
	PullOptions
	pullState
	ctx    context.Context
	silent bool // the server did not answer; it is not waited for again
}

// pull is one zone in it.
type pull struct {
	Pulled
	reload    bool   // the server has to be told
	installed bool   // the offered file is in place
	digest    string // of the offered file
}

func results(pulls []*pull) []Pulled {
	out := make([]Pulled, len(pulls))
	for i, z := range pulls {
		out[i] = z.Pulled
	}
	return out
}

// wanted are the zones to look at: those asked for, or all that are offered or
// were pulled before.
func (p *puller) wanted(names, before []domain.Name) []domain.Name {
	if len(p.Zones) > 0 {
		return p.Zones
	}
	all := slices.Concat(names, before)
	slices.SortFunc(all, domain.Name.Compare)
	return slices.Compact(all)
}

func (z *pull) gone(before bool) {
	z.Action = PullGone
	z.Error = "it is not offered any more; its file stays until somebody removes it"
	if !before {
		z.Error = "it is not offered"
		z.Code = cli.ExitRejected
	}
}

func (z *pull) reject(format string, args ...any) {
	z.Action, z.Code, z.Error = PullRejected, cli.ExitRejected, fmt.Sprintf(format, args...)
}

func (z *pull) fail(format string, args ...any) {
	z.Action, z.Code, z.Error = PullFailed, cli.ExitFailed, fmt.Sprintf(format, args...)
}

// take puts the offered file of a zone in its place if it is new and right.
func (p *puller) take(z *pull) {
	data, _, err := durable.ReadRegular(p.From, z.Zone.FileName(), maxZoneFile)
	if err != nil {
		z.fail("read the offered file: %s", err)
		return
	}
	old, _, err := durable.ReadRegular(p.To, z.Zone.FileName(), maxZoneFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		z.fail("read the present file: %s", err)
		return
	}
	had := p.present(z.Zone, old, err == nil)
	z.Serial = had.serial
	if had.good {
		if old, err = p.restore(z, had); err != nil {
			z.fail("put the lost file back: %s", err)
			return
		}
	}
	if err == nil && string(old) == string(data) {
		p.settle(z, had)
		return
	}
	if z.digest = digest(data); z.digest == p.failed(z.Zone) {
		z.reject("the name server could not load this file before; it waits for another")
		return
	}
	p.keepServed(z.Zone, had)
	if err := p.install(z, data, had); err != nil {
		if z.Code == 0 {
			z.fail("%s", err)
		}
		return
	}
	z.Action, z.reload = PullPublished, true
}

// restore puts the last good file in the place of one that was lost or damaged:
// the server may be started at any time, and would not find its zone.
func (p *puller) restore(z *pull, had present) ([]byte, error) {
	good, err := p.readGood(z.Zone)
	if err != nil {
		return nil, err
	}
	served, err := p.served(z.Zone)
	// A server that is ahead keeps what it has in memory: a reload would take it back.
	z.reload = err == nil && newer(had.serial, served) || err != nil && !errors.Is(err, ErrNoServer)
	z.Restored = true
	return good, durable.WriteFile(p.filePath(z.Zone), good, durable.Options{})
}

// install stages, judges and commits.
func (p *puller) install(z *pull, data []byte, had present) error {
	staged, err := durable.Stage(p.To, z.Zone.FileName(), durable.Options{})
	if err != nil {
		return err
	}
	defer staged.Discard()
	if _, err := staged.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", staged.Path(), err)
	}
	serial, signed, err := p.judge(z.Zone, staged.Path(), data, had)
	if err != nil {
		z.reject("%s", err)
		return err
	}
	if err := p.Server.Check(p.ctx, z.Zone, staged.Path()); err != nil {
		return fmt.Errorf("check the offered file: %w", err)
	}
	if err := p.writeSeen(z.Zone, seen{serial, signed, z.digest}); err != nil {
		return err
	}
	if err := staged.Commit(time.Time{}); err != nil {
		return err
	}
	z.installed = true
	z.Previous, z.Serial = had.serial, serial
	return nil
}

// settle is for a file that is in place already: after a crash between commit
// and reload, or with a server that was down, it may not be served yet.
func (p *puller) settle(z *pull, had present) {
	z.Action = PullUnchanged
	if z.Restored {
		z.Action = PullRestored
	}
	served, err := p.served(z.Zone)
	switch {
	case errors.Is(err, ErrNoServer), err == nil && served == had.serial:
		z.Confirmed = true
		p.keep(z)
	default:
		z.reload = true
	}
}

// announce tells the server of all new files at once and waits for it.
func (p *puller) announce(pulls []*pull) {
	var again []*pull
	for _, z := range p.confirm(pulls) {
		if p.putBack(z) {
			again = append(again, z)
		}
	}
	for _, z := range p.confirm(again) {
		z.fail("the name server can load neither the offered file nor the last good one")
	}
}

// confirm reloads and waits; it returns the zones whose load failed for sure.
func (p *puller) confirm(pulls []*pull) []*pull {
	var names []domain.Name
	want := map[domain.Name]uint32{}
	for _, z := range pulls {
		if z.reload {
			names = append(names, z.Zone)
			want[z.Zone] = z.Serial
		}
	}
	if len(names) == 0 {
		return nil
	}
	refused := p.Server.Reload(p.ctx, names)
	for apex := range refused {
		delete(want, apex)
	}
	confirmed := Confirm(p.ctx, p.Server, want, p.Timeout)
	var failed []*pull
	for _, z := range pulls {
		if !z.reload {
			continue
		}
		z.reload = false
		r := confirmed[z.Zone]
		switch err := refused[z.Zone]; {
		case err != nil:
			z.unconfirmed(err)
		case r.Outcome == Confirmed:
			p.confirmed(z)
		case r.Outcome == FailedLoad:
			failed = append(failed, z)
		default:
			z.unconfirmed(r.Err)
		}
	}
	return failed
}

func (p *puller) confirmed(z *pull) {
	z.Confirmed = true
	if z.Action == PullUnchanged {
		z.Action = PullConfirmed
	}
	p.keep(z)
}

// keep makes the file in place the last good one.
func (p *puller) keep(z *pull) {
	good, err := p.readGood(z.Zone)
	if is, _, why := durable.ReadFile(p.filePath(z.Zone), maxZoneFile); err == nil && why == nil && bytes.Equal(good, is) {
		return
	}
	if err := durable.Copy(p.filePath(z.Zone), p.goodPath(z.Zone)); err != nil {
		z.fail("keep the last good file: %s", err)
	}
}

// unconfirmed leaves the verified file where it is: the next run asks again.
func (z *pull) unconfirmed(err error) {
	if err == nil {
		err = errors.New("no answer")
	}
	z.Code = cli.Worst(z.Code, cli.ExitFailed)
	z.Error = strings.TrimPrefix(fmt.Sprintf("%s; confirm serial %d: %s", z.Error, z.Serial, err), "; ")
}

// putBack writes the last good file again, with a new modification time: the
// server would not look at the old one. The file that failed is remembered, so
// that it is not tried again.
func (p *puller) putBack(z *pull) bool {
	bad := z.Serial
	if !z.installed { // it was in place when this run began
		if data, _, err := durable.ReadRegular(p.To, z.Zone.FileName(), maxZoneFile); err == nil {
			z.digest = digest(data)
		}
	}
	z.fail("the name server could not load serial %d", bad)
	if err := p.remember(z.Zone, z.digest); err != nil {
		z.fail("the name server could not load serial %d, and that cannot be noted: %s", bad, err)
	}
	good, err := p.readGood(z.Zone)
	if err != nil || digest(good) == z.digest {
		z.Error += "; there is no earlier file to put back"
		return false
	}
	if err := durable.WriteFile(p.filePath(z.Zone), good, durable.Options{}); err != nil {
		z.Error += "; put the last good file back: " + err.Error()
		return false
	}
	z.Action, z.Serial, z.reload = PullPutBack, p.present(z.Zone, good, true).serial, true
	return true
}
