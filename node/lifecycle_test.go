package node_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"chainfire/object"
	"chainfire/object/lifecycle"
)

func TestTheLeaderAppliesTheRulesOfBuckets(t *testing.T) {
	o := options(t, "a")
	o.Bounds.LifecycleEvery = 20 * time.Millisecond
	a := start(t, o)
	makeBucket(t, a, "ruled")
	makeBucket(t, a, "other")
	for _, bucket := range []string{"ruled", "other"} {
		mustPut(t, a, bucket, "tmp/x", "text")
		mustPut(t, a, bucket, "keep", "text")
	}
	const rules = `<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>tmp/</Prefix></Filter>` +
		`<Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>`
	_, err := a.Objects().Change(t.Context(), &object.Change{SetConfig: &object.SetConfig{Bucket: "ruled", Name: lifecycle.ConfigName, Value: []byte(rules)}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "what has expired is gone", func() error {
		if got, err := getObject(t, a, "ruled", "tmp/x"); !errors.Is(err, object.ErrNoSuchKey) {
			return fmt.Errorf("it is %q, %w", got, err)
		}
		return nil
	})
	mustGet(t, a, "ruled", "keep", "text")
	mustGet(t, a, "other", "tmp/x", "text")
}
