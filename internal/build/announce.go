package build

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/guard"
	"zonebuild/internal/publish"
)

// announce tells the server of what was committed and waits for it, but a daemon's pass
// not for long. A zone whose load failed is rolled back.
func (p *pass) announce(jobs []*job) {
	failed := p.confirm(jobs, p.o.Beside)
	if len(failed) == 0 {
		return
	}
	var again []*job
	for _, j := range failed {
		if p.rollBack(j) {
			again = append(again, j)
		}
	}
	for _, j := range p.confirm(again, nil) {
		j.fail("load-failed", errors.New("roll back: the name server cannot load the last good zone either"))
	}
}

// afterRollBack is how long a daemon waits for the last good zones: they were served
// before, and another zone shall not wait for a dead server.
const afterRollBack = 5 * time.Second

// confirm reloads and waits, for those that beside asks only as long as it does; it
// returns the jobs whose load failed for sure. The server is not told again of what is
// being asked for.
func (p *pass) confirm(jobs []*job, beside *Beside) []*job {
	var names []domain.Name
	want := map[domain.Name]uint32{}
	server := signedElsewhere{p.o.Server, map[domain.Name]uint32{}}
	for _, j := range jobs {
		if j.reload && j.lock != nil {
			want[j.z.Name] = j.state.Serial
			if a := j.state.Awaited; a != nil && *a == 0 {
				server.any[j.z.Name] = j.state.Serial
			} else if a != nil {
				want[j.z.Name] = *a
			}
			if beside == nil || !beside.asks(p.tree, j.z.Name, want[j.z.Name]) {
				names = append(names, j.z.Name)
			}
		}
	}
	if len(want) == 0 {
		return nil
	}
	refused := p.tell(names, beside)
	for name := range refused {
		delete(want, name)
	}
	begun := p.clock()
	results := p.await(server, want, beside)
	p.took(StageConfirm, begun)
	var failed, confirmed []*job
	for _, j := range jobs {
		if !j.reload {
			continue
		}
		r, known := results[j.z.Name]
		switch err := refused[j.z.Name]; {
		case err != nil:
			j.unconfirmed(err)
		case r.Outcome == publish.Confirmed:
			confirmed = append(confirmed, j)
		case r.Outcome == publish.FailedLoad:
			failed = append(failed, j)
		case !known && beside != nil && j.lock != nil:
			j.res.After.Asked = true // what stands of it, stands
		default:
			j.unconfirmed(r.Err)
		}
		j.reload = false
	}
	sideBySide(len(confirmed), atOnce, func(i int) {
		j := confirmed[i]
		p.confirmed(j, results[j.z.Name].Unasked)
	})
	return failed
}

// tell has the server read the files of zones. What it was asked before counts no more.
func (p *pass) tell(names []domain.Name, beside *Beside) (refused map[domain.Name]error) {
	if len(names) == 0 {
		return nil
	}
	if beside != nil {
		for _, name := range names {
			beside.forget(name)
		}
	}
	p.o.Log.Debug("tell the name server", "zones", len(names))
	return p.o.Server.Reload(p.ctx, names)
}

// await waits for serials.
func (p *pass) await(server publish.Server, want map[domain.Name]uint32, beside *Beside) map[domain.Name]publish.Result {
	timeout := p.tree.Config.Publish.Timeout
	switch {
	case beside != nil:
		return beside.confirm(p.tree, server, want, timeout)
	case p.o.Beside != nil:
		timeout = min(timeout, afterRollBack)
	}
	return publish.Confirm(p.ctx, server, want, timeout)
}

// signedElsewhere is the name server of zones that others sign and give serials
// of their own. Of those that were not served before, any serial is the new one.
type signedElsewhere struct {
	publish.Server
	any map[domain.Name]uint32 // by zone: what counts as its serial
}

// Serial asks the server.
func (s signedElsewhere) Serial(ctx context.Context, apex domain.Name) (publish.Served, error) {
	served, err := s.Server.Serial(ctx, apex)
	if serial, ok := s.any[apex]; ok && err == nil {
		served.Serial = serial
	}
	return served, err
}

func (p *pass) confirmed(j *job, unasked bool) {
	s := j.state
	if !s.Confirmed {
		s.Confirmed, s.ConfirmedAt = true, j.now.UTC()
	}
	s.clear("unconfirmed")
	j.res.Confirmed = true
	if j.res.Action == Unchanged && !unasked {
		j.res.Action = Confirmed
	}
	if s.Good == fileID(p.tree.lastGoodPath(j.z.Name)) && s.GoodOf == s.File {
		return
	}
	s.Good, s.GoodOf = FileID{}, FileID{} // until there is a copy, each run tries again
	kept := p.takesNoTime(j, "copy %s to %s", p.tree.PublishedPath(j.z.Name), p.tree.lastGoodDir())
	err := durable.Copy(p.tree.PublishedPath(j.z.Name), p.tree.lastGoodPath(j.z.Name))
	kept()
	if err != nil {
		j.fail("build-failed", fmt.Errorf("keep the last good zone: %w", err))
		return
	}
	s.Good, s.GoodOf = fileID(p.tree.lastGoodPath(j.z.Name)), s.File
}

// unconfirmed leaves the verified file where it is: the next run asks again.
func (j *job) unconfirmed(err error) {
	if err == nil {
		err = errors.New("no answer")
	}
	j.res.Error = fmt.Sprintf("confirm serial %d: %s", j.state.Serial, err)
	j.res.Code = cli.Worst(j.res.Code, cli.ExitFailed)
	if j.res.Action == Published {
		j.res.Action = Unconfirmed
	}
	j.state.raise("unconfirmed", j.res.Error, j.now)
	j.res.After.Unconfirmed = true
}

// rollBack publishes the last good records with a higher serial and holds back
// the input that the server could not load.
func (p *pass) rollBack(j *job) bool {
	reason := fmt.Errorf("the name server could not load serial %d", j.state.Serial)
	j.state.FailedInput = hex.EncodeToString(j.input[:])
	j.fail("load-failed", reason)
	good, input, err := p.tree.readPublished(j.z.Name, p.tree.lastGoodPath(j.z.Name))
	if err != nil {
		return false // nothing was confirmed before
	}
	p.readBack(j)
	j.prevIn, j.held = input, reason.Error()
	candidate, err := good.Zone()
	if err != nil {
		j.fail("load-failed", fmt.Errorf("roll back: %w", err))
		return false
	}
	made, err := p.plan(j, candidate)
	if err != nil {
		j.fail("load-failed", err)
		return false
	}
	serial, served, hasServed, err := p.nextSerial(p.ctx, j, candidate)
	var out *product
	var refused []guard.Finding
	if err == nil {
		out, refused, err = p.sign(j, candidate, made, serial, served, hasServed)
	}
	switch {
	case err != nil:
	case len(refused) > 0:
		err = errors.New(refused[0].Message)
	default:
		err = p.commit(p.ctx, j, out)
	}
	if err != nil {
		j.fail("load-failed", fmt.Errorf("roll back: %w", err))
		return false
	}
	j.res.Action = RolledBack
	return true
}
