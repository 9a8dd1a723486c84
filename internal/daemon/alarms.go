package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/durable"
	"zonebuild/internal/publish"
	"zonebuild/internal/watch"
)

// Alarm is one of the daemon as a whole; those of zones are in their states.
type Alarm struct {
	Code    string    `json:"code"`
	Subject string    `json:"subject,omitempty"` // a source; "" = the daemon
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	Said    time.Time `json:"said,omitzero"`  // when alarm-command was last told
	Over    bool      `json:"over,omitempty"` // it is cleared, and alarm-command is still to be told

	old   bool // it stood when the last daemon ended
	asked bool // alarm-command was started for it: it may know
}

// alarms stand in state/watch/alarms.json, so that a restart does not forget whom
// it has told.
type alarms struct {
	mu    sync.Mutex
	path  string
	list  []Alarm
	gone  []Alarm   // cleared, of which alarm-command is still to be told
	again time.Time // by the running clock
	busy  bool
	dirty bool // the file tells something else

	saving bool // somebody writes the file
}

// Bounds of telling.
const (
	alarmTimeout = 30 * time.Second
	alarmRepeat  = 24 * time.Hour
	alarmRetry   = 5 * time.Minute
	maxAlarms    = 1 << 20 // octets of the file
	saveWait     = 5 * time.Second
)

// load reads what stood when the last daemon ended. What has ended since is cleared:
// the loop raises anew what still stands.
func (a *alarms) load(dir string) error {
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	a.path = filepath.Join(dir, "alarms.json")
	b, _, err := durable.ReadFile(a.path, maxAlarms)
	if err == nil {
		err = json.Unmarshal(b, &a.gone)
	}
	if err != nil {
		a.gone = nil
		if !errors.Is(err, fs.ErrNotExist) {
			return durable.Remove(a.path) // damaged: what stands is raised again
		}
	}
	for i := range a.gone {
		a.gone[i].old, a.gone[i].Over = true, true
	}
	a.dirty = len(a.gone) > 0
	return nil
}

// alarm takes an alarm of the loop.
func (d *Daemon) alarm(w watch.Alarm) {
	if w.Clear {
		d.Log.Info("alarm is over", "alarm", w.Code, "source", w.Subject)
	} else {
		d.Log.Error("alarm", "alarm", w.Code, "source", w.Subject, "message", w.Message)
	}
	a := &d.alarms
	a.mu.Lock()
	same := func(o Alarm) bool { return o.Code == w.Code && o.Subject == w.Subject }
	if i := slices.IndexFunc(a.list, same); w.Clear && i >= 0 {
		if !a.list[i].Said.IsZero() || a.list[i].asked {
			a.list[i].Over = true
			a.gone = append(a.gone, a.list[i])
		}
		a.list = slices.Delete(a.list, i, i+1)
		a.dirty = true
	} else if !w.Clear && i >= 0 { // it stands for another reason now
		a.list[i].Message = w.Message
		a.dirty = true
		a.mu.Unlock()
		return // the next beat writes it
	} else if !w.Clear {
		is := Alarm{Code: w.Code, Subject: w.Subject, Message: w.Message, Since: d.Now().UTC()}
		if i := slices.IndexFunc(a.gone, same); i >= 0 { // it stood when the last daemon ended
			is.Since, is.Said = a.gone[i].Since, a.gone[i].Said
			a.gone = slices.Delete(a.gone, i, i+1)
		}
		a.list = append(a.list, is)
		a.dirty = true
	}
	a.again = time.Time{}
	a.mu.Unlock()
	d.repeatAlarms()
}

// standing are the alarms of the daemon as a whole.
func (a *alarms) standing() []Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list)
}

// find is the message of an alarm that stands.
func (a *alarms) find(code string) (message string, stands bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.list, func(o Alarm) bool { return o.Code == code })
	if i < 0 {
		return "", false
	}
	return a.list[i].Message, true
}

// alarmEvent is what alarm-command gets on its standard input: that of a zone's
// alarm, with a source in the place of the zone.
type alarmEvent struct {
	Event   string    `json:"event"`
	Source  string    `json:"source"`
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// settleIn is how long a daemon runs before it says that an alarm of its
// predecessor's is over.
const settleIn = time.Minute

// repeatAlarms tells alarm-command what is new, or stands for another day, in a
// goroutine of its own: the loop must turn meanwhile.
func (d *Daemon) repeatAlarms() {
	a := &d.alarms
	now := d.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	d.mu.Lock()
	s := d.site
	d.mu.Unlock()
	if s == nil || a.busy || time.Now().Before(a.again) {
		return
	}
	type telling struct {
		event string
		Alarm
	}
	var tell []telling
	for _, g := range a.gone {
		if !g.old || d.clock() >= settleIn {
			tell = append(tell, telling{"clear", g})
		}
	}
	for _, x := range a.list {
		switch {
		case x.Said.IsZero():
			tell = append(tell, telling{"raise", x})
		case now.Sub(x.Said) >= alarmRepeat, now.Before(x.Said): // a clock that was wrong
			tell = append(tell, telling{"daily", x})
		}
	}
	if len(tell) == 0 && !a.dirty {
		return
	}
	a.busy = true
	tree := s.tree
	d.telling.Go(func() {
		ok := d.saveSoon() // whoever asks for the status shall not wait for the command
		for _, t := range tell {
			if !a.ask(t.event, t.Alarm) {
				continue
			}
			if !d.tell(tree, t.event, t.Alarm) {
				ok = false
				break
			}
			a.mu.Lock()
			a.told(t.event, t.Alarm, now)
			a.mu.Unlock()
		}
		ok = d.saveSoon() && ok
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.busy = false; !ok {
			a.again = time.Now().Add(alarmRetry)
		}
	})
}

// ask notes that alarm-command is about to be told; not ok is what has changed since:
// it is told of as it is now.
func (a *alarms) ask(event string, x Alarm) (ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	if event == "clear" {
		list = a.gone
	}
	i := slices.IndexFunc(list, func(o Alarm) bool { return o.Code == x.Code && o.Subject == x.Subject && o.Since.Equal(x.Since) })
	if i >= 0 {
		list[i].asked = true
	}
	return i >= 0
}

func (a *alarms) told(event string, x Alarm, now time.Time) {
	same := func(o Alarm) bool { return o.Code == x.Code && o.Subject == x.Subject }
	a.dirty = true
	if event == "clear" {
		a.gone = slices.DeleteFunc(a.gone, same)
		return
	}
	if i := slices.IndexFunc(a.list, same); i >= 0 {
		a.list[i].Said = now.UTC()
	}
}

// saveSoon is saveAlarms, but for a disk that hangs, which may be what the alarm is
// about: people are told all the same.
func (d *Daemon) saveSoon() bool {
	a := &d.alarms
	a.mu.Lock()
	hangs := a.saving
	a.saving = true
	a.mu.Unlock()
	if hangs {
		return false
	}
	saved := make(chan bool, 1)
	go func() {
		ok := d.saveAlarms()
		a.mu.Lock()
		a.saving = false
		a.mu.Unlock()
		saved <- ok
	}()
	timer := time.NewTimer(saveWait)
	defer timer.Stop()
	select {
	case ok := <-saved:
		return ok
	case <-timer.C:
		return false
	}
}

// saveAlarms writes the file, if it is to tell something else, and reports whether
// that is done. A disk that hangs must not keep others from the alarms.
func (d *Daemon) saveAlarms() bool {
	a := &d.alarms
	a.mu.Lock()
	if !a.dirty {
		a.mu.Unlock()
		return true
	}
	b, err := json.MarshalIndent(append(slices.Clone(a.gone), a.list...), "", "  ")
	a.dirty = false
	a.mu.Unlock()
	if err == nil {
		err = durable.WriteFile(a.path, append(b, '\n'), durable.Options{Mode: 0o644})
	}
	if err != nil {
		d.Log.Warn("save the alarms", "err", err)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.dirty = true
	}
	return err == nil
}

// tell runs alarm-command, if there is one.
func (d *Daemon) tell(tree *build.Tree, event string, x Alarm) bool {
	argv := tree.Config.AlarmCommand
	if argv == nil {
		return true
	}
	b, err := json.Marshal(alarmEvent{event, x.Subject, x.Code, x.Message, x.Since})
	if err == nil {
		_, err = publish.Run(context.Background(), alarmTimeout, tree.Config.Tree, argv, append(b, '\n'))
	}
	if err != nil {
		d.Log.Warn("tell alarm-command", "alarm", x.Code, "err", err)
	}
	return err == nil
}
