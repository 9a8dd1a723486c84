package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

type unit struct {
	name byte
	size time.Duration
}

func units() []unit {
	return []unit{{'w', 7 * day}, {'d', day}, {'h', time.Hour}, {'m', time.Minute}, {'s', time.Second}}
}

// ParseDuration reads whole numbers with the units w, d, h, m and s, the
// largest first and each at most once: "14d", "1h30m", "0s".
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf(`%q is no duration such as "14d" or "1h30m"`, s)
	if s == "" {
		return 0, bad
	}
	var total time.Duration
	left := units()
	for rest := s; rest != ""; {
		n := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if n <= 0 {
			return 0, bad
		}
		i := 0
		for i < len(left) && left[i].name != rest[n] {
			i++
		}
		if i == len(left) {
			return 0, bad
		}
		v, err := strconv.ParseInt(rest[:n], 10, 64)
		if err != nil || time.Duration(v) > (math.MaxInt64-total)/left[i].size {
			return 0, fmt.Errorf("%q is too long", s)
		}
		total += time.Duration(v) * left[i].size
		left, rest = left[i+1:], rest[n+1:]
	}
	return total, nil
}

// FormatDuration is the reverse of ParseDuration for whole seconds. It counts
// in days, not in weeks.
func FormatDuration(d time.Duration) string {
	if d < time.Second {
		return "0s"
	}
	var b strings.Builder
	for _, u := range units()[1:] {
		if n := d / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%c", n, u.name)
			d %= u.size
		}
	}
	return b.String()
}
