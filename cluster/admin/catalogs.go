package admin

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/eider-dns/eider/nameserver/catalog"
	"github.com/eider-dns/eider/store/record"
)

// catalogSetting and memberSetting are the rows of zoneSettings about catalog zones (RFC 9432).
var (
	catalogSetting = zoneSetting{
		key: "catalog", number: record.ZoneCatalog, unset: "none",
		help: "producer: the zone is a catalog, which lists its members for secondaries to follow (RFC 9432); consumer: the zones a catalog pulled from elsewhere lists are made here, and deleted",
		parse: func(text string) ([]byte, error) {
			if text != record.CatalogProducer && text != record.CatalogConsumer {
				return nil, fmt.Errorf("%q is no role of a catalog; there are %s and %s", shorten(text), record.CatalogProducer, record.CatalogConsumer)
			}
			return []byte(text), nil
		},
		format: func(value []byte) string { return string(value) },
	}
	memberSetting = zoneSetting{
		key: "member", number: record.ZoneMember, unset: "none",
		help: "CATALOG[,GROUP]: the zone is listed in that catalog of this cluster, in that group",
		parse: func(text string) ([]byte, error) {
			apex, group, _ := strings.Cut(text, ",")
			name, err := record.ParseName(apex)
			if err != nil {
				return nil, err
			}
			value := record.Member{Catalog: name, Group: group}.Encode()
			_, err = record.DecodeMember(value)
			return value, err
		},
		format: func(value []byte) string {
			m, err := record.DecodeMember(value)
			switch {
			case err != nil:
				return err.Error()
			case m.Group == "":
				return m.Catalog.String()
			}
			return m.Catalog.String() + "," + m.Group
		},
	}
	templateSetting = zoneSetting{
		key: "template", number: record.ZoneTemplate, unset: "the catalog's own primaries",
		help:  "of a catalog with the role consumer: the primaries of its members, as of primaries",
		parse: primariesSetting.parse, format: primariesSetting.format,
	}
	originSetting = zoneSetting{
		key: "from", number: record.ZoneOrigin, unset: "here by itself",
		help: "shown: the catalog that has the zone here, its label, its group; from= alone, which leaves the zone to itself",
		parse: func(string) ([]byte, error) {
			return nil, errors.New("a catalog alone makes zones its own; from= takes one from it")
		},
		format: func(value []byte) string {
			o, err := record.DecodeOrigin(value)
			if err != nil {
				return err.Error()
			}
			return strings.TrimSuffix(o.Catalog.String()+","+o.ID+","+o.Group, ",")
		},
	}
)

// Catalogs follows catalogs made elsewhere; *catalog.Follower is one.
type Catalogs interface {
	Status(apex record.Name) (catalog.Status, bool)
}

// ConfirmRemovals is the change that lets a catalog, as it is at that serial, reset and remove as many zones as it says.
func ConfirmRemovals(apex record.Name, serial uint32) record.Change {
	return record.Change{
		Pre: []record.Precondition{{Kind: record.PreSerialIs, Owner: apex, Serial: serial}},
		Ops: []record.Op{{Kind: record.OpZoneSetting, Owner: apex, Type: record.ZoneConfirmed, Data: [][]byte{strconv.AppendUint(nil, uint64(serial), 10)}}},
	}
}
