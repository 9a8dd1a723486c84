//go:build !linux

package daemon

import "time"

// runningClock is a clock that nobody sets.
func runningClock() func() time.Duration {
	begun := time.Now()
	return func() time.Duration { return time.Since(begun) }
}
