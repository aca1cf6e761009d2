"""KV pages of one GPU: a pool with prefix caching and least-recently-used eviction (pure Python)."""

from collections import OrderedDict


class PagePool:
    """Pages are free, in use, or inactive (cached, nobody uses them). A content may have several copies: look-ups find the oldest."""

    def __init__(self, pages):
        self.capacity = pages
        self.content = [None] * pages
        self.references = [0] * pages
        self.copies = {}
        self.inactive = OrderedDict()  # least recently released first
        self.free = list(range(pages - 1, -1, -1))

    def available(self):
        return len(self.free) + len(self.inactive)

    def active(self):
        return self.capacity - self.available()

    def find(self, content):
        pages = self.copies.get(content)
        return None if pages is None else pages[0]

    def pin(self, page):
        if self.references[page] == 0:
            del self.inactive[page]
        self.references[page] += 1

    def take(self):
        if not self.free:
            self._evict()
        page = self.free.pop()
        self.references[page] = 1
        return page

    def publish(self, page, content):
        self.content[page] = content
        self.copies.setdefault(content, []).append(page)

    def release(self, page):
        self.references[page] -= 1
        if self.references[page] > 0:
            return
        if self.content[page] is None:
            self.free.append(page)
        else:
            self.inactive[page] = None

    def _evict(self):
        page, _ = self.inactive.popitem(last=False)
        content = self.content[page]
        pages = self.copies[content]
        pages.remove(page)
        if not pages:
            del self.copies[content]
        self.content[page] = None
        self.free.append(page)
