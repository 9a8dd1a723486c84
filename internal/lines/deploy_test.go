package lines_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"zonebuild/internal/lines"
)

// TestRunHookOutput: of what a program prints without end the beginning is kept.
func TestRunHookOutput(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	said := filepath.Join(t.TempDir(), "said")
	err := lines.RunHook(t.Context(), lines.Hook{Argv: []string{"/bin/sh", "-c", "yes error | head -c 50000000; exit 3"}, Timeout: time.Minute, Output: said})
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 16<<20 {
		t.Errorf("50 MB of output took %d octets of memory, %v", got, err)
	}
	if info, err := os.Stat(said); err != nil || info.Size() > 64<<10 {
		t.Errorf("of 50 MB of output is kept %v, %v", info, err)
	}
}
