package sim

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"chainfire/node"
	"chainfire/object"
)

// shelf is the bucket of the clients of objects, with shelfKeys keys.
const (
	shelf     = "shelf"
	shelfKeys = 3
)

// objectKind is what a client does to an object.
type objectKind uint8

// The kinds. A new one and one in place of another are puts with a condition.
const (
	objectGet objectKind = iota
	objectPut
	objectNew
	objectReplace
	objectDelete
)

func (k objectKind) String() string {
	return [...]string{"get", "put", "new", "replace", "delete"}[k]
}

// objectOp is one operation on one object. The texts of all puts differ.
type objectOp struct {
	client    int
	kind      objectKind
	key, text string
	// expect is the text of the object that is to be replaced.
	expect       string
	call, answer int64
	end          outcome
	// held says that the condition held, and of a delete that there was an object.
	held bool
	// seen is the text that was read; none is no object, as everywhere.
	seen string
}

func (o *objectOp) String() string {
	return fmt.Sprintf("%s %s %q in place of %q -> %d, held %t, saw %q", o.kind, o.key, o.text, o.expect, o.end, o.held, o.seen)
}

// condition reports whether a put's condition holds of an object.
func (o *objectOp) condition(text string) bool {
	switch o.kind {
	case objectNew:
		return text == ""
	case objectReplace:
		return text != "" && text == o.expect
	}
	return true
}

// followObject is all that one object may do: whether an operation can come next, and the
// object after it.
func followObject(text string, o *objectOp) (bool, string) {
	switch o.kind {
	case objectGet:
		return o.seen == text, text
	case objectDelete:
		return o.end == open || o.held == (text != ""), ""
	}
	held := o.condition(text)
	switch {
	case o.end != open && held != o.held:
		return false, text
	case held:
		return true, o.text
	}
	return true, text
}

// objectClient is one that uses the cluster's objects, through any member.
type objectClient struct {
	c    *cluster
	id   int
	n    int
	last map[string]string // texts seen
}

const objectClients = 2

func (c *cluster) startObjectClients() {
	for id := range objectClients {
		cl := &objectClient{c: c, id: id, last: map[string]string{}}
		c.w.outside.Go(func() {
			for !c.quiet {
				c.w.outside.sleep(c.w.between(0, 6*c.think))
				if !c.quiet {
					cl.once()
				}
			}
		})
	}
}

func (cl *objectClient) once() {
	w := cl.c.w
	o := &objectOp{client: cl.id, key: fmt.Sprintf("o%d", w.rng.IntN(shelfKeys))}
	switch n := w.rng.IntN(100); {
	case n < 10:
		// What is wrong with it the story tells.
		_ = cl.c.list(cl.c.anyHost(), cl.id, w.between(cl.c.patience/4, cl.c.patience))
		return
	case n < 35:
		o.kind = objectGet
	case n < 60:
		o.kind = objectPut
	case n < 75:
		o.kind = objectNew
	case n < 90:
		o.kind, o.expect = objectReplace, cl.last[o.key]
	default:
		o.kind = objectDelete
	}
	if o.kind == objectReplace && o.expect == "" {
		o.kind = objectNew
	}
	if o.kind != objectGet && o.kind != objectDelete {
		cl.n++
		o.text = fmt.Sprintf("c%d-%d", cl.id, cl.n)
	}
	cl.c.doObject(cl.c.anyHost(), o, w.between(cl.c.patience/4, cl.c.patience))
	switch {
	case o.end != answered:
	case o.kind == objectGet:
		cl.last[o.key] = o.seen
	case o.kind != objectDelete && o.held:
		cl.last[o.key] = o.text
	}
}

// doObject performs an operation at a member and notes what came of it.
func (c *cluster) doObject(h *host, o *objectOp, patience time.Duration) {
	c.objectOps = append(c.objectOps, o)
	o.end = open
	o.call = c.moment()
	var a objectOp
	err := c.at(h, patience, func(ctx context.Context, n *node.Node) (err error) {
		a, err = performObject(ctx, n, o)
		return err
	})
	o.answer = c.moment()
	if err == nil {
		o.held, o.seen = a.held, a.seen
	}
	o.end = classify(err)
	switch {
	case errors.Is(err, object.ErrNoSuchBucket):
		o.end = refused
	case errors.Is(err, errTorn):
		c.w.violate("at %s: %v", h.name, err)
	}
	c.w.note(uint64(o.call), uint64(o.answer), uint64(o.end))
	c.w.story.tell(fmt.Sprintf("objects%d", o.client), "at %s: %s%s", h.name, o, reasonOf(err))
}

func etagOf(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// performObject returns, of an operation, what the member answers.
func performObject(ctx context.Context, n *node.Node, o *objectOp) (a objectOp, err error) {
	objects := n.Objects()
	switch o.kind {
	case objectGet:
		v, err := objects.View(ctx)
		if err != nil {
			return a, err
		}
		defer func() { err = errors.Join(err, v.Close()) }()
		b, err := v.Bucket(shelf)
		if err != nil {
			return a, err
		}
		a.seen, err = readText(ctx, n, v, b, o.key)
		return a, err
	case objectDelete:
		r, err := objects.Change(ctx, &object.Change{Delete: &object.Delete{Bucket: shelf, Objects: []object.DeleteObject{{Key: o.key}}}})
		if err == nil {
			a.held, err = r.Deleted[0].Found, r.Deleted[0].Err
		}
		return a, err
	}
	w, err := objects.NewBody(ctx, int64(len(o.text)))
	if err != nil {
		return a, err
	}
	defer w.Close()
	if _, err := io.WriteString(w, o.text); err != nil {
		return a, err
	}
	put := &object.Put{Bucket: shelf, Key: o.key, ETag: etagOf(o.text)}
	if put.Body, err = w.Finish(ctx); err != nil {
		return a, err
	}
	switch o.kind {
	case objectNew:
		put.If.IfNoneMatch = "*"
	case objectReplace:
		put.If.IfMatch = etagOf(o.expect)
	}
	_, err = objects.Change(ctx, &object.Change{Put: put})
	if errors.Is(err, object.ErrPreconditionFailed) || errors.Is(err, object.ErrNoSuchKey) {
		return a, nil
	}
	a.held = err == nil
	return a, err
}

var errTorn = errors.New("the bytes of an object are not those of its ETag")

// readText reads an object of a view; none is the empty text.
func readText(ctx context.Context, n *node.Node, v *object.View, b *object.Bucket, key string) (text string, err error) {
	ver, err := v.Version(b, key, nil)
	if errors.Is(err, object.ErrNoSuchKey) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	body, err := v.Body(ver.Body)
	if err != nil {
		return "", err
	}
	r, err := n.Objects().OpenBody(ctx, body, 0, body.Size)
	if err != nil {
		return "", err
	}
	all, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return "", err
	}
	if etagOf(string(all)) != ver.ETag {
		return "", fmt.Errorf("%w: %s is %q", errTorn, key, all)
	}
	return string(all), nil
}

// list reads all objects at one moment, each of which is as if it had been read alone.
func (c *cluster) list(h *host, client int, patience time.Duration) error {
	call := c.moment()
	seen := map[string]string{}
	err := c.at(h, patience, func(ctx context.Context, n *node.Node) error {
		got, err := listTexts(ctx, n)
		seen = got
		return err
	})
	answer := c.moment()
	end := classify(err)
	c.w.note(uint64(call), uint64(answer), uint64(end))
	c.w.story.tell(fmt.Sprintf("objects%d", client), "at %s: list -> %v%s", h.name, seen, reasonOf(err))
	switch {
	case errors.Is(err, errTorn):
		c.w.violate("at %s: %v", h.name, err)
	case end == answered:
		for k := range shelfKeys {
			key := fmt.Sprintf("o%d", k)
			c.objectOps = append(c.objectOps, &objectOp{client: client, kind: objectGet, key: key, call: call, answer: answer, seen: seen[key]})
		}
	}
	return err
}

func listTexts(ctx context.Context, n *node.Node) (seen map[string]string, err error) {
	v, err := n.Objects().View(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	b, err := v.Bucket(shelf)
	if err != nil {
		return nil, err
	}
	l, err := v.List(ctx, b, object.ListRequest{Limit: object.MaxPage})
	if err != nil {
		return nil, err
	}
	seen = map[string]string{}
	for i := range l.Entries {
		key := l.Entries[i].Key
		if seen[key], err = readText(ctx, n, v, b, key); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// makeShelf makes the bucket, as soon as that can be done.
func (c *cluster) makeShelf() {
	c.w.outside.Go(func() {
		for !c.quiet {
			err := c.at(c.anyHost(), c.patience, func(ctx context.Context, n *node.Node) error {
				_, err := n.Objects().Change(ctx, &object.Change{CreateBucket: &object.CreateBucket{Name: shelf}})
				return err
			})
			if err == nil || errors.Is(err, object.ErrBucketExists) {
				return
			}
			c.w.outside.sleep(200 * time.Millisecond)
		}
	})
}

// objectsLinearizable demands that, for every object, one order of its operations explains
// every answer and puts none before one that had ended when it began.
func (c *cluster) objectsLinearizable() {
	model := porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, _ any) (bool, any) { return followObject(state.(string), input.(*objectOp)) },
	}
	keys := map[string][]porcupine.Operation{}
	for _, o := range c.objectOps {
		end := o.answer
		switch {
		case o.end == refused, o.end == open && o.kind == objectGet:
			continue // it tells nothing
		case o.end == open:
			end = math.MaxInt64
		}
		keys[o.key] = append(keys[o.key], porcupine.Operation{ClientId: o.client, Input: o, Call: o.call, Return: end})
	}
	for _, key := range sortedKeys(keys) {
		if porcupine.CheckOperationsTimeout(model, keys[key], checkTime) != porcupine.Illegal {
			continue
		}
		text := " run the seed alone to see them"
		if c.w.story.on() {
			text = ""
			for _, o := range keys[key] {
				text += fmt.Sprintf("\n    client %d [%d, %d] %s", o.ClientId, o.Call, o.Return, o.Input)
			}
		}
		c.w.violate("the %d operations on object %s are not linearizable:%s", len(keys[key]), key, text)
		return
	}
}

// readObjects lists all objects at every member.
func (c *cluster) readObjects() {
	left := 0
	for i, h := range c.alive() {
		left++
		c.w.outside.Go(func() {
			defer func() { left-- }()
			err := c.list(h, 100+i, 10*time.Second)
			if classify(err) == open && !errors.Is(err, object.ErrNoSuchBucket) && !c.mayBeDamaged(h) {
				c.w.violate("the last listing of objects at %s: %v", h.name, err)
			}
		})
	}
	for limit := c.w.now + 20*time.Second; left > 0 && len(c.w.wrong) == 0; {
		c.w.run(c.w.now + healLook)
		if c.w.now > limit {
			c.w.violate("%d last listings of objects do not end", left)
		}
	}
}
