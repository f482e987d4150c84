package s3api

import (
	"bytes"
	"fmt"
	"sync"

	"chainfire/internal/xmltree"
	"chainfire/object"
	"chainfire/object/lifecycle"
	"chainfire/s3api/bucketpolicy"
)

// maxKept bounds the documents of one name that are kept as they were read.
const maxKept = 1024

// kept reads documents of buckets of one name, and keeps those asked for as they were read. What
// it gives is not to be changed. Any goroutine may use it.
type kept[T any] struct {
	name  string
	parse func(document []byte, b *object.Bucket) (*T, error)

	mu   sync.Mutex
	read map[uint64]keptDocument[T] // by the bucket's id
}

type keptDocument[T any] struct {
	document []byte
	value    *T
}

// of is the document of a bucket in a view, nil where it has none. One that cannot be read was
// taken once: that it is wrong now is not the doing of who asks, so that the error is one of the
// server, and never a refusal.
func (k *kept[T]) of(view *object.View, b *object.Bucket) (*T, error) {
	document, found, err := view.Config(b, k.name)
	if err != nil || !found {
		return nil, err
	}
	k.mu.Lock()
	known, ok := k.read[b.ID]
	k.mu.Unlock()
	if ok && bytes.Equal(known.document, document) {
		return known.value, nil
	}
	value, err := k.parse(document, b)
	if err != nil {
		return nil, fmt.Errorf("the document %q of bucket %s, as it is kept: %s", k.name, b.Name, err.Error())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.read == nil || len(k.read) >= maxKept {
		k.read = map[uint64]keptDocument[T]{}
	}
	k.read[b.ID] = keptDocument[T]{bytes.Clone(document), value}
	return value, nil
}

// documents are those of buckets that requests are held to.
type documents struct {
	policies   kept[bucketpolicy.Policy]
	blocks     kept[publicAccessBlock]
	cors       kept[corsDocument]
	lifecycles kept[lifecycle.Config]
}

func newDocuments() *documents {
	return &documents{
		policies: kept[bucketpolicy.Policy]{name: configPolicy, parse: func(document []byte, b *object.Bucket) (*bucketpolicy.Policy, error) {
			return bucketpolicy.Parse(document, b.Name)
		}},
		blocks: kept[publicAccessBlock]{name: configPublicAccess, parse: func(document []byte, _ *object.Bucket) (*publicAccessBlock, error) {
			n, err := xmltree.Parse(document, "PublicAccessBlockConfiguration")
			if err != nil {
				return nil, err
			}
			p := &publicAccessBlock{}
			if err := p.read(n); err != nil {
				return nil, err
			}
			return p, nil
		}},
		cors: kept[corsDocument]{name: configCORS, parse: func(document []byte, _ *object.Bucket) (*corsDocument, error) {
			n, err := xmltree.Parse(document, "CORSConfiguration")
			if err != nil {
				return nil, err
			}
			return parseCORS(n)
		}},
		lifecycles: kept[lifecycle.Config]{name: configLifecycle, parse: func(document []byte, _ *object.Bucket) (*lifecycle.Config, error) {
			return lifecycle.Parse(document)
		}},
	}
}
