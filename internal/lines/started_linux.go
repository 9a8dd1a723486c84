package lines

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// userHZ is the unit of times in /proc, per second: the same on all systems that are
// built for (proc(5)).
const userHZ = 100

// startOf is when a process was started, to a second; zero: /proc does not tell.
// Errors: there is no such process.
func startOf(pid int) (time.Time, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat("/proc/self/stat"); err != nil {
			return time.Time{}, nil
		}
		return time.Time{}, errNoProcess
	}
	if err != nil {
		return time.Time{}, nil
	}
	// The name of the program is in parentheses and may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	system, err := os.ReadFile("/proc/stat")
	_, boot, found := strings.Cut(string(system), "\nbtime ")
	boot, _, _ = strings.Cut(boot, "\n")
	if err != nil || !found || len(fields) < 20 {
		return time.Time{}, nil
	}
	since, err1 := strconv.ParseInt(boot, 10, 64)
	ticks, err2 := strconv.ParseInt(fields[19], 10, 64)
	if err1 != nil || err2 != nil {
		return time.Time{}, nil
	}
	return time.Unix(since+ticks/userHZ, 0), nil
}
