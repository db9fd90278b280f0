package admin

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/eider-dns/eider/store/record"
)

func TestRotateCookies(t *testing.T) {
	var fails error
	_, client := listening(t, newFake(), func(o *Options) {
		o.RotateCookies = func(ctx context.Context) (record.Result, error) {
			if at, ok := ctx.Deadline(); !ok || time.Until(at) > time.Minute {
				t.Error("without the client's deadline")
			}
			return record.Result{Status: record.OK, Index: 77}, fails
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if done, err := client.RotateCookies(ctx); err != nil || done.Index != 77 {
		t.Errorf("got %+v, %v", done, err)
	}
	fails = errors.New("no quorum")
	var answered *RequestError
	if _, err := client.RotateCookies(ctx); !errors.As(err, &answered) || answered.Status != http.StatusServiceUnavailable || answered.Text != "no quorum" {
		t.Errorf("without a quorum: %v", err)
	}
	_, client = listening(t, newFake())
	if _, err := client.RotateCookies(ctx); !errors.As(err, &answered) || answered.Status != http.StatusNotFound {
		t.Errorf("without secrets: %v", err)
	}
}
