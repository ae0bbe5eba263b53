/** A document as JSON with an end of line: two spaces of indent, keys in the order of the document's type. */
export const renderJson = (document: object): string => `${JSON.stringify(document, null, 2)}\n`;
