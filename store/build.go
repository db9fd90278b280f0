package store

// builder makes a tree from keys in ascending order, with pages packed full and
// not a byte longer than needed.
type builder struct {
	items  []item
	sizeKV int // heap octets of items as if there were no prefix
	prefix int // of the items so far
	pages  []page
	seps   [][]byte // before each page but the first
	last   []byte   // key of the last entry of the last page
	count  int
	key    []byte
}

// add takes the next entry. key and val must stay unchanged until 64 KiB more
// were added or finish was called: they are copied when their page is full.
func (b *builder) add(key, val []byte) {
	prefix := len(key)
	if len(b.items) > 0 {
		prefix = min(b.prefix, commonPrefix(b.items[0].suf, key))
	}
	size := entrySize(len(key), len(val)) + slotSize
	if n := len(b.items); n > 0 && pageHeader+prefix+b.sizeKV+size-(n+1)*prefix > pageSize {
		b.flush()
		prefix = len(key)
	}
	b.prefix = prefix
	b.sizeKV += size
	b.items = append(b.items, item{nil, key, val})
	b.count++
}

func (b *builder) flush() {
	if len(b.items) == 0 {
		return
	}
	first := b.items[0].suf
	if len(b.pages) > 0 {
		n := commonPrefix(b.last, first) + 1
		b.seps = append(b.seps, append([]byte(nil), first[:n]...))
	}
	b.last = append(b.last[:0], b.items[len(b.items)-1].suf...)
	b.pages = append(b.pages, newPage(b.items, 0, b.key))
	clear(b.items)
	b.items, b.sizeKV = b.items[:0], 0
}

// finish gives the tree of all that was added.
func (b *builder) finish() tree {
	b.flush()
	if len(b.pages) == 0 {
		return newTree()
	}
	var level []*node
	var seps [][]byte
	for i := 0; i < len(b.pages); i += packedFan {
		end := min(i+packedFan, len(b.pages))
		n := &node{leaves: b.pages[i:end:end]}
		n.setSeps(b.seps[i : end-1 : end-1])
		level = append(level, n)
		if end < len(b.pages) {
			seps = append(seps, b.seps[end-1])
		}
	}
	for len(level) > 1 {
		var up []*node
		var upSeps [][]byte
		for i := 0; i < len(level); i += packedFan {
			end := min(i+packedFan, len(level))
			n := &node{kids: level[i:end:end]}
			n.setSeps(seps[i : end-1 : end-1])
			up = append(up, n)
			if end < len(level) {
				upSeps = append(upSeps, seps[end-1])
			}
		}
		level, seps = up, upSeps
	}
	return tree{root: level[0], owner: 1, entries: b.count}
}
