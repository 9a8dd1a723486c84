package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
)

// toldState is what state/sources/told.json holds.
type toldState struct {
	Faults string `json:"faults,omitempty"` // digest of the faults last told
}

// strayFaults are the faults of sshfp/ and certs.map that belong to no zone:
// warnings. News says that they are not those of the last run.
func (t *Tree) strayFaults(ctx context.Context, keep bool) (faults diag.List, news bool, err error) {
	faults = slices.Concat(t.hostKeys.Faults, t.certs.strays)
	faults.Sort()
	is := toldState{faultDigest(faults)}
	dir := filepath.Join(t.Config.Paths.State, "sources")
	path := filepath.Join(dir, "told.json")
	was := toldOf(path)
	if is == was || !keep {
		return faults, is != was, nil
	}
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return faults, true, err
	}
	lock, err := t.lockScan(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return faults, true, fmt.Errorf("lock what was told of the sources: %w", err)
	}
	if lock == nil {
		return faults, false, nil // somebody else tells of them
	}
	defer lock.Unlock()
	b, err := json.MarshalIndent(is, "", "  ")
	if err != nil {
		return faults, true, fmt.Errorf("encode what was told of the sources: %w", err)
	}
	return faults, true, durable.WriteFile(path, append(b, '\n'), t.stateMode())
}

// toldOf reads what was told; what cannot be read is told again.
func toldOf(path string) (was toldState) {
	b, _, err := durable.ReadFile(path, 1<<16)
	if err == nil {
		err = json.Unmarshal(bytes.TrimSpace(b), &was)
	}
	if err != nil {
		return toldState{}
	}
	return was
}
