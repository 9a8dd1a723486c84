package zone

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestAppendTime(t *testing.T) {
	at := []uint32{0, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32, 951782400, 951868799} // 2000-02-29
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		at = append(at, random.Uint32())
	}
	for _, s := range at {
		u := time.Unix(int64(s), 0).UTC()
		if got, want := string(appendTime(nil, u)), u.Format("20060102150405"); got != want {
			t.Errorf("%d: %s, want %s", s, got, want)
		}
	}
}
