package access

import (
	"sync/atomic"
	"time"
)

// seldomEvery is how often Seldom lets a line through: enough to be seen, and not more
// for however many messages strangers send.
const seldomEvery = time.Second

// Seldom bounds lines of the log that a message from outside causes. The zero value
// is ready, and any goroutine may use it.
type Seldom struct{ last atomic.Int64 }

// Now tells whether a line may be written at that time.
func (s *Seldom) Now(at time.Time) bool {
	now, last := at.UnixNano(), s.last.Load()
	return (now-last >= int64(seldomEvery) || now < last) && s.last.CompareAndSwap(last, now)
}
