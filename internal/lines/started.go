package lines

import (
	"os"
	"strconv"
	"strings"
	"time"

	"zonebuild/internal/durable"
)

// started is when the process of a pid file was started; where the system does not
// tell, when the file was written: a service may write it anew later.
func started(pidFile string) (time.Time, error) {
	data, info, err := durable.ReadFile(pidFile, 4096)
	if err != nil {
		return time.Time{}, err
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	pid, err := strconv.ParseUint(strings.TrimSpace(line), 10, 31)
	if err != nil {
		return info.ModTime(), nil
	}
	at, err := startOf(int(pid))
	if err != nil {
		return time.Time{}, err
	}
	if at.IsZero() {
		return info.ModTime(), nil
	}
	return at, nil
}

// errNoProcess is that of a pid file which outlived its process.
var errNoProcess = os.ErrProcessDone
