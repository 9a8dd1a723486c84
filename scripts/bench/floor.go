package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxFloor is how many signatures are made to measure the floor. A zone with
// more gets the time of so many, scaled.
const maxFloor = 500_000

// signBare makes n signatures on all cores and nothing else: a digest and a call
// of Signer.Sign without a source of randomness (RFC 6979), ECDSA P-256. No
// signer that signs through crypto.Signer can be faster. With verify each is verified
// too, by crypto/ecdsa.
func signBare(n int, verify bool) (time.Duration, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	const batch = 64
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	start := time.Now()
	for w := range errs {
		wg.Go(func() {
			var digest [sha256.Size]byte
			for errs[w] == nil {
				lo := int(next.Add(batch)) - batch
				if lo >= n {
					return
				}
				for i := lo; i < min(lo+batch, n) && errs[w] == nil; i++ {
					binary.BigEndian.PutUint64(digest[:], uint64(i))
					sig, err := key.Sign(nil, digest[:], crypto.SHA256)
					if err == nil && verify && !ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig) {
						err = errors.New("the signature is bad")
					}
					errs[w] = err
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, fmt.Errorf("sign: %w", err)
		}
	}
	return time.Since(start), nil
}

// floorChild is this program run for the floor alone: it prints seconds.
func floorChild(n int, verify bool, out io.Writer) error {
	d, err := signBare(min(n, maxFloor), verify)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%.6f\n", d.Seconds()*float64(n)/float64(min(n, maxFloor)))
	return err
}
