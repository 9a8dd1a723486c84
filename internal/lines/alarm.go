package lines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/durable"
)

// Alarm is what the operator must look at. CAs send no mail about expiration any
// more, so whoever is not told here is told by the clients that turn away.
type Alarm struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// maxLag is how long a service may take to load a certificate.
const maxLag = time.Hour

// alarm says what is wrong for so long that somebody must look, the worst first:
// half of the time between renewal and expiration has gone by, hooks failed three
// times, or services lag for an hour. Nil: nothing.
func alarm(in Input) *Alarm {
	g := in.Files.Live
	if g == nil {
		return &Alarm{"no-certificate", "there is no certificate"}
	}
	d := decision{Input: in}
	at, _ := d.renewAt()
	end := g.Leaf().NotAfter
	noRequest := in.Line.CSR != "" && in.Files.Next == nil && in.Files.Wanted == nil
	switch {
	case !in.Now.Before(end):
		return &Alarm{"certificate-expired", "the certificate has expired"}
	case at.Before(end) && in.Now.After(at.Add(end.Sub(at)/2)):
		return &Alarm{"certificate-expires", "the certificate expires soon, and its renewal does not come about"}
	case in.State.Revoked.Cert == g.ID():
		return &Alarm{"certificate-revoked", "the live certificate is revoked: " + in.State.Revoked.Reason}
	case g.Key == nil && (in.Line.CSR == "" || noRequest), in.Files.NextFault != "":
		text := in.Files.NextFault
		if g.Key == nil {
			text = keyFault(g, in.Line)
		}
		return &Alarm{"key-unusable", text}
	case g.Damaged != "":
		return &Alarm{"line-unreadable", g.Damaged}
	case in.State.Retry.Tries > 3 && !slices.Equal(namesOf(g), sorted(in.Line.Names)):
		return &Alarm{"names-differ", "the certificate is not for the names of the line, and another one does not come about"}
	case in.State.Deploy.Tries > 2 && in.State.Deploy.failing(in.Line.Deploy):
		return &Alarm{"deploy-failed", "a deploy hook fails: " + in.State.Deploy.Error}
	}
	for _, s := range in.Services {
		if lag, ok := in.lag(s); ok && in.Now.Sub(lag.Since) > maxLag {
			return &Alarm{"service-lags", "service " + s.Name + ": " + lag.Text}
		}
	}
	return nil
}

// lag is why a service is not known to serve the live certificate. What was seen before
// somebody said by hand that it does, or that it cannot be asked, is over.
func (in Input) lag(s config.Service) (Lag, bool) {
	lag, ok := in.State.Lags[s.Name]
	serves := in.Files.Live != nil && in.State.Served[s.Name].Cert == in.Files.Live.ID()
	if !ok || s.ProbeOff || serves {
		return Lag{}, false
	}
	return lag, true
}

// Bounds of telling.
const (
	alarmTimeout = 30 * time.Second
	alarmRepeat  = 24 * time.Hour
)

// standing is an alarm that somebody was told of, or should have been.
type standing struct {
	Alarm
	Since time.Time `json:"since"`
	Said  time.Time `json:"said,omitzero"` // zero: nobody has been told
}

// alarmEvent is what alarm-command gets on its standard input.
type alarmEvent struct {
	Event string `json:"event"` // "raise", "daily" or "clear"
	Line  string `json:"line"`
	Alarm
	Since    time.Time `json:"since"`
	NotAfter time.Time `json:"not_after,omitzero"` // of the certificate
}

// Ring tells alarm-command what is new since it was last told, what has stood for
// another day, and what is over. It asks nobody, and needs no CA: what keeps a line
// from being run at all is an alarm too. Lines that are not in the configuration any
// more are forgotten. Errors: of the command, which is told again by the next Ring,
// and of the file that remembers.
func (k *Keeper) Ring(ctx context.Context) error {
	path := filepath.Join(k.Config.StateDir, "alarms.json")
	old, err := readAlarms(path)
	if err != nil {
		return err
	}
	now := k.Now().UTC().Truncate(time.Second)
	next := map[string]standing{}
	var faults []error
	for _, l := range k.Config.Lines {
		was, stood := old[l.Name]
		s, err := k.Status(l)
		is := s.Alarm
		if err != nil {
			is = &Alarm{"line-unreadable", err.Error()}
		}
		tell := func(event string, what standing) bool {
			if len(k.Config.AlarmCommand) == 0 {
				return false
			}
			err := k.tell(ctx, alarmEvent{event, l.Name, what.Alarm, what.Since, s.NotAfter})
			if err != nil {
				faults = append(faults, fmt.Errorf("line %s: tell alarm-command: %w", l.Name, err))
			}
			return err == nil
		}
		if over := stood && (is == nil || is.Code != was.Code); over && !was.Said.IsZero() && !tell("clear", was) {
			next[l.Name] = was // what came instead is told when this was
			continue
		}
		if is == nil {
			continue
		}
		n := standing{Alarm: *is, Since: now}
		if stood && was.Code == is.Code {
			n.Since, n.Said = was.Since, was.Said
		}
		if n.Said.After(now) { // the clock was set back
			n.Said = now
		}
		event := ""
		switch {
		case n.Said.IsZero():
			event = "raise"
		case now.Sub(n.Said) >= alarmRepeat:
			event = "daily"
		}
		if event != "" && tell(event, n) {
			n.Said = now
		}
		next[l.Name] = n
	}
	if !maps.Equal(old, next) {
		faults = append(faults, writeAlarms(path, next))
	}
	return errors.Join(faults...)
}

// tell runs alarm-command. It inherits nothing: what is in this process's
// environment is nobody else's affair.
func (k *Keeper) tell(ctx context.Context, e alarmEvent) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return k.Hook(ctx, Hook{
		Argv: k.Config.AlarmCommand, Dir: k.Config.StateDir, Timeout: alarmTimeout, Stdin: append(text, '\n'),
		Output: filepath.Join(k.Config.StateDir, "alarm.out"),
		Env:    []string{plainPath, "ACMEHOOK_EVENT=" + e.Event, "ACMEHOOK_LINE=" + e.Line, "ACMEHOOK_ALARM=" + e.Code},
	})
}

// readAlarms reads what was told. A file that is damaged is as good as none: what
// stands is told again.
func readAlarms(path string) (map[string]standing, error) {
	data, _, err := durable.ReadFile(path, maxPEM)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the alarms: %w", err)
	}
	var all map[string]standing
	if json.Unmarshal(data, &all) != nil {
		return nil, nil
	}
	return all, nil
}

func writeAlarms(path string, all map[string]standing) error {
	if len(all) == 0 {
		return durable.Remove(path)
	}
	data, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return fmt.Errorf("write the alarms: %w", err)
	}
	return durable.WriteFile(path, append(data, '\n'), durable.Options{Mode: 0o600})
}
