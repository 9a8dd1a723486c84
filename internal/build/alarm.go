package build

import (
	"encoding/json"
	"slices"
	"time"

	"zonebuild/internal/domain"
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

// alarms tells alarm-command what is new: an alarm when it is raised, once a
// day while it stands, and when it is cleared. It is told again next time when
// the command fails.
func (p *pass) alarms(j *job) {
	argv := p.tree.Config.AlarmCommand
	if argv == nil {
		return
	}
	tell := func(event string, a Alarm) bool {
		p.telling.Lock() // one at a time, as its author expects
		defer p.telling.Unlock()
		b, err := json.Marshal(alarmEvent{event, j.z.Name, a.Code, a.Message, a.Since})
		if err == nil {
			_, err = publish.Run(p.ctx, alarmTimeout, p.tree.Config.Tree, argv, append(b, '\n'))
		}
		if err != nil {
			p.o.Log.Warn("tell alarm-command", "zone", j.z.Name, "alarm", a.Code, "err", err)
		}
		return err == nil
	}
	for _, was := range j.alarmsBefore {
		still := slices.ContainsFunc(j.state.Alarms, func(a Alarm) bool { return a.Code == was.Code })
		if !still && !was.Said.IsZero() && !tell(alarmCleared, was) {
			return
		}
	}
	for i := range j.state.Alarms {
		a := &j.state.Alarms[i]
		event := alarmStands
		switch {
		case a.Said.IsZero():
			event = alarmRaised
		case j.now.Sub(a.Said) < alarmRepeat:
			continue
		}
		if !tell(event, *a) {
			return
		}
		a.Said = j.now.UTC()
	}
}
