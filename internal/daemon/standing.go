package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"zonebuild/internal/durable"
)

// Standing is what another process finds out of a daemon.
type Standing struct {
	PID    int     `json:"pid,omitempty"`    // 0 = unknown
	Alarms []Alarm `json:"alarms,omitempty"` // of the daemon as a whole
}

// Of is the daemon that runs for a tree with this state/ now; nil = none does. What one
// that ended has left is not told: nobody keeps it true.
func Of(state string) (*Standing, error) {
	pid, held, err := durable.Held(filepath.Join(state, "watch.lock"))
	if err != nil || !held {
		return nil, err
	}
	out := &Standing{PID: pid}
	path := filepath.Join(state, "watch", "alarms.json")
	b, _, err := durable.ReadFile(path, maxAlarms)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &out.Alarms); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	out.Alarms = slices.DeleteFunc(out.Alarms, func(a Alarm) bool { return a.Over })
	return out, nil
}
