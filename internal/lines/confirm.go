package lines

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/durable"
)

// ErrNoneToConfirm says that all services of a line are asked what they serve.
var ErrNoneToConfirm = errors.New("no service has probe = \"none\": all of them are asked, and nobody's word counts for them")

// said is the operator's word that waits for the next run of a line: one that is at work
// has the lock, and may itself have started whoever says it.
type said struct {
	Cert string    `json:"cert"` // Generation.ID
	At   time.Time `json:"at"`
}

func (k *Keeper) saidPath(line string) string {
	return filepath.Join(k.Config.StateDir, "live-"+line+".json")
}

// Say notes by hand that the services which cannot be asked serve the live certificate,
// and gives their names. It needs no lock: the line's next step takes the word in, in a
// run that is at work too. Errors: ErrNoneToConfirm; there is no certificate.
func (k *Keeper) Say(l config.Line) ([]string, error) {
	files, err := PathsOf(k.Config, l.Name).Read(l)
	if err != nil {
		return nil, fmt.Errorf("line %s: %w", l.Name, err)
	}
	if files.Live == nil {
		return nil, fmt.Errorf("line %s: there is no certificate yet", l.Name)
	}
	var names []string
	for _, s := range k.Config.ServicesOf(l) {
		if s.ProbeOff {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("line %s: %w", l.Name, ErrNoneToConfirm)
	}
	data, err := json.Marshal(said{Cert: files.Live.ID(), At: k.Now().UTC().Truncate(time.Second)})
	if err == nil {
		err = durable.WriteFile(k.saidPath(l.Name), append(data, '\n'), durable.Options{Mode: 0o600})
	}
	if err != nil {
		return nil, fmt.Errorf("line %s: %w", l.Name, err)
	}
	return names, nil
}

// heed takes the operator's word into a state. What cannot be read is no word, and one
// that was for another certificate counts for nothing.
func (k *Keeper) heed(s *State, g *Generation, services []config.Service, line string) (found bool, err error) {
	data, _, err := durable.ReadFile(k.saidPath(line), maxPEM)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read what was said by hand: %w", err)
	}
	var word said
	if json.Unmarshal(data, &word) != nil || g == nil || word.Cert != g.ID() {
		return true, nil
	}
	for _, v := range services {
		if v.ProbeOff {
			s.confirm(v.Name, g, Serving{At: word.At, ByHand: true})
		}
	}
	return true, nil
}

// confirm notes that a service serves a certificate.
func (s *State) confirm(service string, g *Generation, seen Serving) {
	if s.Served == nil {
		s.Served = map[string]Serving{}
	}
	seen.Generation, seen.Cert, seen.Key = g.Number, g.ID(), g.Hash()
	s.Served[service] = seen
}

// listen takes in what was said by hand since, and forgets that it was said only when it
// is written down.
func (r *run) listen(g *Generation) error {
	found, err := r.heed(&r.state, g, r.services, r.line.Name)
	if err != nil || !found {
		return err
	}
	if err := r.save(); err != nil {
		return err
	}
	return durable.Remove(r.saidPath(r.line.Name))
}
