package daemon

import (
	"time"

	"golang.org/x/sys/unix"
)

// runningClock is a clock that nobody sets and that goes on while the machine sleeps, as
// the one of package time does not (clock_gettime(2)).
func runningClock() func() time.Duration {
	begun := time.Now()
	return func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
			return time.Since(begun) // before Linux 2.6.39
		}
		return time.Duration(t.Nano())
	}
}
