package store

import (
	"bytes"
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

// Settings are values all nodes share that belong to no zone: a number and up to
// record.MaxSetting octets, which mean nothing here. They are replicated state as
// everything else: in the digest, in snapshots, decided in the order of the log.

// settingKeyLen is the length in octets of a key in spaceSetting.
const settingKeyLen = 1 + 2

func appendSettingKey(dst []byte, id record.Setting) []byte {
	return binary.BigEndian.AppendUint16(append(dst, spaceSetting), uint16(id))
}

var clusterKey = appendSettingKey(nil, record.SettingCluster)

// Setting is the value of a setting, nil if it has none. It lives as long as the View.
func (v *View) Setting(id record.Setting) []byte {
	var buf [settingKeyLen]byte
	val, _ := v.value(appendSettingKey(buf[:0], id))
	return val
}

// Cluster is the id of the cluster whose entries made what views show, zero before the first.
func (s *Store) Cluster() (id [16]byte) {
	v := s.View()
	defer v.Close()
	copy(id[:], v.Setting(record.SettingCluster))
	return id
}

// bind notes the cluster the state belongs to with its first entry.
func (b *batchState) bind(cluster [16]byte) {
	if cluster == ([16]byte{}) {
		return
	}
	b.key = appendSettingKey(b.key[:0], record.SettingCluster)
	if _, bound := b.tree.get(b.key); !bound {
		b.tree.put(b.key, cluster[:])
	}
}

// setting is OpSetting.
func (b *batchState) setting(op *record.Op) error {
	if op.Zone != "" || op.Owner != "" || op.TTL != 0 || op.Flags != 0 {
		return refuse(record.CauseFormat, "%v belongs to no name, and has no TTL and no flags", op.Kind)
	}
	if op.Type == record.SettingCluster {
		return refuse(record.CauseRule, "the cluster a state belongs to cannot be set")
	}
	value, err := settingValue(op.Data)
	if err != nil {
		return err
	}
	b.key = appendSettingKey(b.key[:0], op.Type)
	switch {
	case value != nil:
		b.ch.changed = b.put(b.key, value) || b.ch.changed
	case b.delete(b.key):
		b.ch.changed = true
		b.ch.removed++
	default:
		b.ch.missed++
	}
	return nil
}

// settingValue is the value in the Data of an op or a precondition, nil if there is none.
func settingValue(data [][]byte) ([]byte, error) {
	switch {
	case len(data) == 0:
		return nil, nil
	case len(data) > 1:
		return nil, refuse(record.CauseFormat, "%d values for one setting", len(data))
	case len(data[0]) == 0 || len(data[0]) > record.MaxSetting:
		return nil, refuse(record.CauseFormat, "the value of a setting has %d octets; from 1 to %d are allowed", len(data[0]), record.MaxSetting)
	}
	return data[0], nil
}

// checkSetting is PreSettingIs.
func (b *batchState) checkSetting(p *record.Precondition) error {
	want, err := settingValue(p.Data)
	if err != nil {
		return err
	}
	b.key = appendSettingKey(b.key[:0], p.Type)
	if value, _ := b.tree.get(b.key); !bytes.Equal(value, want) { // no value is empty
		return refuse(record.CauseSetting, "setting %d has another value by now", uint16(p.Type))
	}
	return nil
}
