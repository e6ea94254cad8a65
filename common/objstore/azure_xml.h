/* azure_xml.h - the little of XML that Azure Storage's answers need: the text of an element
 * that has no elements in it. Private to this room. Pure. */
#ifndef OBJSTORE_AZURE_XML_H
#define OBJSTORE_AZURE_XML_H

#include <stdbool.h>
#include <stddef.h>

/* A part of an answer. */
struct xml_part {
    const char *at, *end;
};

/* The content of the first element `name` in `part`; false when there is none. An attribute in
 * its tag does no harm. *ret_after, when not NULL, is what follows it. */
bool xml_find(const struct xml_part *part, const char *name, struct xml_part *ret,
              struct xml_part *ret_after);

/* Its text, entities resolved: false when it is longer than size - 1 or no such text. */
bool xml_text(const struct xml_part *part, char *ret_text, size_t size);

#endif
