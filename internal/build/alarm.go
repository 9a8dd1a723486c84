package build

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/publish"
)

// Events of an alarm, as alarm-command is told.
const (
	alarmRaised  = "raise"
	alarmStands  = "daily"
	alarmCleared = "clear"
)

// alarmEvent is what alarm-command gets on its standard input.
type alarmEvent struct {
	Event   string      `json:"event"`
	Zone    domain.Name `json:"zone"`
	Code    string      `json:"code"`
	Message string      `json:"message"`
	Since   time.Time   `json:"since"`
}

// Bounds of alarm-command.
const (
	alarmTimeout = 30 * time.Second
	alarmRepeat  = 24 * time.Hour
)

// Telling is one word to alarm-command.
type Telling struct {
	Event string
	Alarm
}

// Clears reports whether it says that an alarm is over.
func (t *Telling) Clears() bool { return t.Event == alarmCleared }

// Tellings are what alarm-command is to be told of alarms that stand and of those that
// are over: an alarm when it is raised, once a day while it stands, and when it is
// cleared. A time that is yet to come is one of a clock that was wrong.
func Tellings(stand, over []Alarm, now time.Time) (out []Telling) {
	for _, a := range over {
		out = append(out, Telling{alarmCleared, a})
	}
	for _, a := range stand {
		switch since := now.Sub(a.Said); {
		case a.Said.IsZero():
			out = append(out, Telling{alarmRaised, a})
		case since >= alarmRepeat, since < 0:
			out = append(out, Telling{alarmStands, a})
		}
	}
	return out
}

// keepOver notes which alarms of before are over, and that alarm-command knows of. One
// that is back before it was told so goes on.
func (s *State) keepOver(before []Alarm) {
	stands := func(list []Alarm, code string) int {
		return slices.IndexFunc(list, func(a Alarm) bool { return a.Code == code })
	}
	for _, was := range before {
		if stands(s.Alarms, was.Code) < 0 && stands(s.Over, was.Code) < 0 && !was.Said.IsZero() {
			s.Over = append(s.Over, was)
		}
	}
	for i := range s.Alarms {
		a := &s.Alarms[i]
		if at := stands(s.Over, a.Code); at >= 0 {
			a.Since, a.Said = s.Over[at].Since, s.Over[at].Said
			s.Over = slices.Delete(s.Over, at, at+1)
		}
	}
	if len(s.Over) == 0 {
		s.Over = nil
	}
}

// told notes that alarm-command knows.
func (s *State) told(t Telling, now time.Time) {
	same := func(a Alarm) bool { return a.Code == t.Code && a.Since.Equal(t.Since) }
	if t.Event == alarmCleared {
		if s.Over = slices.DeleteFunc(s.Over, same); len(s.Over) == 0 {
			s.Over = nil
		}
		return
	}
	if i := slices.IndexFunc(s.Alarms, same); i >= 0 {
		s.Alarms[i].Said = now.UTC()
	}
}

// alarms tells alarm-command what is new, unless somebody else does behind the pass. It
// is told again next time when the command fails; the other zones of a pass do not wait
// for one that does not work.
func (p *pass) alarms(j *job) {
	if p.tree.Config.AlarmCommand == nil {
		j.state.Over = nil
		return
	}
	j.state.keepOver(j.alarmsBefore)
	if p.o.TellLater {
		return
	}
	p.telling.Lock() // one at a time, as its author expects
	defer p.telling.Unlock()
	if p.deaf {
		return
	}
	for _, t := range Tellings(j.state.Alarms, j.state.Over, j.now) {
		if err := p.tree.Tell(p.ctx, j.z.Name, t); err != nil {
			p.o.Log.Warn("tell alarm-command", "zone", j.z.Name, "alarm", t.Code, "err", err)
			p.deaf = true
			return
		}
		j.state.told(t, j.now)
	}
}

// Tell runs alarm-command.
func (t *Tree) Tell(ctx context.Context, apex domain.Name, is Telling) error {
	b, err := json.Marshal(alarmEvent{is.Event, apex, is.Code, is.Message, is.Since})
	if err != nil {
		return err
	}
	_, err = publish.Run(ctx, alarmTimeout, t.Config.Tree, t.Config.AlarmCommand, append(b, '\n'))
	return err
}

// Told notes in the state of a zone that alarm-command knows, beside the passes.
func (t *Tree) Told(ctx context.Context, apex domain.Name, is Telling, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	lock, err := durable.LockWait(ctx, t.lockPath(apex))
	if err != nil {
		return fmt.Errorf("lock %s: %w", apex, err)
	}
	defer lock.Unlock()
	state, err := t.loadState(apex)
	if err != nil {
		return err
	}
	state.told(is, now)
	return t.saveState(apex, state)
}
